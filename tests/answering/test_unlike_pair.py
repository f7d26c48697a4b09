"""Two models of unlike vocabularies: which strategies take them, and what is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from adec.answering.choice import Choice
from adec.answering.plan import plan
from adec.answering.session import Question, open_session
from adec.engines.base import OpenOptions
from adec.errors import PairError, UsageError
from tests.engines.gguf.tiny_gguf import write_tiny_gguf


@pytest.fixture
def unlike(tmp_path: Path) -> dict[str, str]:
    small = write_tiny_gguf(tmp_path / "small.gguf", merges=("a b", "Ġ ab"), seed=1)
    large = write_tiny_gguf(tmp_path / "large.gguf", seed=2)
    return {"small": str(small), "large": str(large)}


EXACTLY = {
    "slem": ("slem.size=fixed", "slem.longest=3"),
    "ead": ("ead.accept=exact", "ead.up=100"),
    "bild": ("bild.accept=exact", "bild.fallback=0"),
    "fly": ("fly.accept=exact",),
    "adaedl": ("adaedl.start=0",),
}


@pytest.mark.parametrize("name", [*EXACTLY, "smartspec", "speculate", None])
def test_some_draft_by_text_and_the_answer_is_the_large_models(unlike, name) -> None:
    pytest.importorskip("llama_cpp")
    ready = plan(Choice(**unlike, strategy=name, assignments=EXACTLY.get(name, ())))
    assert set(ready.models) == {"small", "large"}
    assert any("tokenised anew" in remark for remark in ready.remarks)
    question = Question("the hand in there", max_tokens=20)
    options = OpenOptions(context=128, threads=1)
    with open_session(ready, options) as session:
        text, summary = session.reply(question)
    with open_session(plan(Choice(model=unlike["large"], strategy="plain")), options) as session:
        assert text == session.reply(question)[0]
    assert name not in EXACTLY or summary["small_forwards"] > 0


def test_what_hands_ids_over_is_refused_in_a_line(unlike) -> None:
    with pytest.raises(PairError, match="cascade cannot run on this pair") as caught:
        plan(Choice(**unlike, strategy="cascade"))
    assert "slem" in (caught.value.hint or "") and "\n" not in str(caught.value)
    clocked = ("ead.wake=clock",)
    with pytest.raises(PairError, match=r"ead\.wake=clock judges blocks by token ids") as caught:
        plan(Choice(**unlike, strategy="ead", assignments=clocked))
    assert "\n" not in str(caught.value)
    ready = plan(Choice(**unlike, strategy="plain"))
    with pytest.raises(PairError, match="dyspec cannot run on this pair"):
        ready.with_strategy("dyspec")
    with pytest.raises(PairError, match=r"ead\.wake=clock"):
        ready.with_strategy("ead", clocked)


def test_a_strategy_that_may_use_a_small_model_never_gets_one_of_other_ids(unlike) -> None:
    pytest.importorskip("llama_cpp")
    ready = plan(Choice(**unlike, strategy="plain"))
    with open_session(ready, OpenOptions(context=64, threads=1)) as session:
        assert set(ready.engines_for(session.engines)) == {"large"}
    with (
        pytest.raises(UsageError, match="needs a pair"),
        open_session(
            ready.with_strategy("plain", ("plain.model=small",)),
            OpenOptions(context=64, threads=1),
        ),
    ):
        pass
