"""What a choice comes to on models of any capability, before weights are loaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adec.answering.choice import Choice
from adec.answering.plan import Plan, plan
from adec.answering.session import open_session
from adec.decoding.registry import METHODS, check_method, remaining
from adec.engines.base import ModelHeader, OpenOptions
from adec.engines.opening import read_header
from adec.errors import AdecError, ModelFileError, PairError, UsageError
from adec.practice import large_gguf, small_gguf
from tests.engines.gguf.tiny_gguf import RawGguf, write_tiny_gguf
from tests.laws import pair

CAPABILITIES = st.frozensets(st.sampled_from(["rewind", "tree"]))


def headers(small: frozenset, large: frozenset) -> dict[str, ModelHeader]:
    engines = dict(zip(("small", "large"), pair(0), strict=True))
    capable = {"small": small, "large": large}
    return {
        role: ModelHeader(engine.info, engine.vocabulary, capable[role])
        for role, engine in engines.items()
    }


@given(CAPABILITIES, CAPABILITIES)
def test_a_model_that_is_optional_never_takes_a_strategy_away(small, large) -> None:
    both = headers(small, large)
    alone = {"large": both["large"]}
    assert set(remaining(alone)) <= set(remaining(both))


@given(CAPABILITIES, CAPABILITIES)
def test_what_remains_is_what_passes_the_check(small, large) -> None:
    both = headers(small, large)
    for method in METHODS.values():
        try:
            check_method(method, both)
            passes = True
        except AdecError:
            passes = False
        assert passes == (method.name in remaining(both))


def planned(monkeypatch: pytest.MonkeyPatch, role: str) -> Plan:
    """The default on the built-in pair, of which the model of `role` cannot be rewound."""
    stuck = {"small": small_gguf(), "large": large_gguf()}[role]

    def read(path, engine=None):
        header = read_header(path, engine)
        if path != stuck:
            return header
        missing = {"rewind": "its layers are recurrent", "tree": "its layers are recurrent"}
        return replace(header, capabilities=frozenset(), missing=missing)

    monkeypatch.setattr("adec.answering.plan.read_header", read)
    return plan(Choice(small="practice:small", large="practice:large"))


def test_a_small_model_that_cannot_rewind_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    ready = planned(monkeypatch, "small")
    assert ready.method.name == "speculate" and list(ready.models) == ["large"]
    assert any("recurrent" in remark and "without" in remark for remark in ready.remarks)
    with open_session(ready, OpenOptions(context=64)) as session:
        assert list(session.engines) == ["large"]


def test_a_large_model_that_cannot_rewind_writes_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    ready = planned(monkeypatch, "large")
    assert ready.method.name == "plain" and set(ready.models) == {"large", "small"}


def test_models_are_named_and_auto_takes_the_small_one(
    tiny_pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    small, large = tiny_pair
    monkeypatch.chdir(large.parent)
    found = plan(Choice(large="LARGE", small="auto", strategy="dyspec"))
    assert (found.models["small"].info.path, found.models["large"].info.path) == (small, large)
    assert any("--small auto took small" in remark for remark in found.remarks)
    with pytest.raises(PairError, match="no model on this machine can draft for small"):
        plan(Choice(large="small", small="auto"))
    with pytest.raises(ModelFileError, match="does not exist"):
        plan(Choice(model="largest"))


def test_what_is_doubtful_about_the_large_model_is_said(tmp_path: Path) -> None:
    raw = RawGguf.read(write_tiny_gguf(tmp_path / "old.gguf")).drop("tokenizer.ggml.pre")
    ready = plan(Choice(model=str(raw.write(tmp_path / "old.gguf"))))
    assert any(remark.startswith("old.gguf: it names no pre-tok") for remark in ready.remarks)


def test_bit_equality_is_not_promised_where_layers_run_one_by_one() -> None:
    wanted = Choice(model="practice:large-torch", strategy="layerskip")
    assert plan(wanted).method.name == "layerskip"
    with pytest.raises(UsageError, match="bitwise"):
        plan(replace(wanted, exactness="bitwise"))
