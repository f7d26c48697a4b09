"""Recurrent and hybrid GGUF models go back by a copy of their state, and keep the contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adec.decoding.registry import METHODS
from adec.decoding.strategy import Aids, Limits
from adec.engines.base import ModelHeader, OpenOptions
from adec.engines.llama.gguf_header import read_gguf_header
from adec.engines.pair import Engines
from adec.errors import EngineError
from adec.tree import ROOT, TokenTree
from tests.engines.contract import EngineContract, assert_rows_equal, log_probabilities
from tests.engines.tiny_gguf import write_tiny_mamba
from tests.laws import prompt_of

pytest.importorskip("llama_cpp")
from adec.engines.llama.recurrent_engine import SNAPSHOTS, RecurrentEngine

OPTIONS = OpenOptions(context=512, threads=1)
# batches run other kernels than single tokens do; a wrong state differs in the first digit
TOLERANCE = 3e-2
Fresh = Callable[[], RecurrentEngine]


@pytest.fixture(scope="module", params=["recurrent", "hybrid"])
def header(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ModelHeader:
    path = tmp_path_factory.mktemp("gguf") / "mamba.gguf"
    found = read_gguf_header(write_tiny_mamba(path, layers=3, hybrid=request.param == "hybrid"))
    assert found.capabilities == {"rewind"}
    return found


@pytest.fixture
def fresh(header: ModelHeader) -> Iterator[Fresh]:
    opened = [RecurrentEngine.open(header, OPTIONS)]

    def open_one() -> RecurrentEngine:
        if len(opened) > 20:
            opened.pop(1).close()
        opened.append(RecurrentEngine.open(header, OPTIONS))
        return opened[-1]

    yield open_one
    for engine in opened:
        engine.close()


class TestRecurrentEngine(EngineContract):
    tolerance = TOLERANCE
    leaves = 1
    examples = 15

    @pytest.fixture
    def fresh(self, fresh: Fresh) -> Fresh:
        return fresh


def test_branches_are_refused_and_change_nothing(fresh: Fresh) -> None:
    engine = fresh()
    engine.forward([1, 2, 3])
    with pytest.raises(EngineError, match="recurrent"):
        engine.forward_tree(TokenTree([1, 2], [ROOT, ROOT]))
    row = log_probabilities(engine.forward([4]))
    assert_rows_equal(row, log_probabilities(fresh().forward([1, 2, 3, 4])), TOLERANCE)


def test_a_failed_forward_leaves_the_sequence_as_it_was(fresh: Fresh) -> None:
    engine = fresh()
    engine.forward([1, 2, 3])
    decode = engine._decode
    calls = []

    def fail_once(context: object, batch: object) -> int:
        calls.append(decode(context, batch))
        return -3 if len(calls) == 1 else calls[-1]

    engine._decode = fail_once
    for tokens in ([5], [5, 6, 7]):
        calls.clear()
        with pytest.raises(EngineError):
            engine.forward(tokens)
        assert engine.length == 3
    row = log_probabilities(engine.forward([4]))
    assert_rows_equal(row, log_probabilities(fresh().forward([1, 2, 3, 4])), TOLERANCE)


def test_snapshots_are_few_and_single_tokens_take_none(fresh: Fresh) -> None:
    engine = fresh()
    engine.forward(list(range(40)))
    for token in range(30):
        engine.forward([token])
    assert [one.length for one in engine._snapshots] == [40]
    for _ in range(10):
        engine.forward([1, 2, 3, 4])
        engine.rewind(engine.length - 2)
    assert len(engine._snapshots) <= SNAPSHOTS and engine._snapshots[0].length == 40
    engine.rewind(39)
    assert engine.length == 39 and not engine._snapshots


@settings(deadline=None, max_examples=12)
@given(st.sampled_from(["speculate", "lookup", "suffix", "recycling"]), st.integers(0, 20))
def test_drafts_are_taken_back_and_the_tokens_are_plains(
    tmp_path_factory: pytest.TempPathFactory, name: str, seed: int
) -> None:
    path = tmp_path_factory.mktemp("gguf") / "mamba.gguf"
    engine = RecurrentEngine.open(read_gguf_header(write_tiny_mamba(path, seed=seed)), OPTIONS)
    prompt = prompt_of([3, 4, 5, 6, 3, 4, 5, 6, 3, 4])
    answers = []
    for method in (METHODS["plain"], METHODS[name]):
        values = {"size": "fixed"} if name == "lookup" and method.name == name else {}
        strategy = method.build(Engines(large=engine), method.settings(**values), Aids())
        steps = list(strategy.generate(prompt, Limits(24)))
        answers.append([token.id for step in steps for token in step.tokens])
    engine.close()
    first, second = answers
    # up to a near tie, which another batch size may round the other way
    same = next((i for i, (a, b) in enumerate(zip(first, second, strict=True)) if a != b), 24)
    if same < 24:
        engine = RecurrentEngine.open(read_gguf_header(path), OPTIONS)
        row = log_probabilities(engine.forward([*prompt.ids, *first[:same]]))[0]
        engine.close()
        assert abs(row[first[same]] - row[second[same]]) < TOLERANCE
