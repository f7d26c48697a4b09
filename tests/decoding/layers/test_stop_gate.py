"""A gate on any strategy: answers end where they seem lost, and only there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adec.decoding.layers.drafting.layerskip import FixedExit
from adec.decoding.layers.drafting.self_draft import PLAIN_TOKENS, SelfDraft
from adec.decoding.layers.exit_classifiers import classifiers_of
from adec.decoding.layers.stop_gate import THRESHOLD, StopWhenLost
from adec.decoding.layers.unified_skip import UnifiedSkip
from adec.decoding.plain import Plain
from adec.decoding.registry import METHODS
from adec.decoding.settings import build
from adec.decoding.strategy import Aids, Limits, Strategy
from adec.engines.pair import Engines
from adec.errors import ModelFileError
from adec.parts.part import Part
from adec.sampling import Sampler
from tests.decoding.layers.layered import LAYERS, LayeredTable
from tests.decoding.layers.test_early_exit import random_part
from tests.engines.torch.test_layer_engine import deep, opened
from tests.laws import prompt_of

__all__ = ["deep"]

PROMPT = [0, 1, 2]


def part_of(seed: int, threshold: float, width: int = 6) -> Part:
    part = random_part("linear", seed, width=width, kind="sec")
    return replace(part, facts={**part.facts, THRESHOLD: threshold})


def tokens_of(steps: Any) -> list[int]:
    return [token.id for step in steps for token in step.tokens]


def lost_at(engine: Any, part: Part, sequence: list[int], first: int, layers: int) -> int | None:
    """The first position whose state says that the answer is lost, by hand, on a fresh engine."""
    stops = classifiers_of(part, layers, "stop.")
    engine.lower(sequence, layers)
    for position in range(first, len(sequence)):
        for depth in stops.depths:
            state = engine.states_at(depth, rows=len(sequence))[position]
            if stops.probability(depth, state) >= float(part.facts[THRESHOLD]):
                return position
    return None


INNER: list[Callable[[Any], Strategy]] = [
    Plain,
    lambda engine: SelfDraft("x", "y", engine, FixedExit(2, 4)),
]


@settings(max_examples=40)
@given(
    inner=st.sampled_from(INNER),
    seed=st.integers(0, 60),
    threshold=st.sampled_from([0.5, 0.7, 0.9, 1.0]),
    sampler=st.sampled_from([Sampler(), Sampler(0.8, seed=4)]),
)
def test_an_answer_is_plains_up_to_the_first_state_that_says_it_is_lost(
    inner: Any, seed: int, threshold: float, sampler: Sampler
) -> None:
    limits = Limits(24, frozenset({5}), sampler)
    plain = tokens_of(Plain(LayeredTable(seed)).generate(prompt_of(PROMPT), limits))
    part = part_of(seed, threshold)
    engine = LayeredTable(seed)
    strategy = StopWhenLost(inner(engine), engine, lambda kind: part)
    steps = list(strategy.generate(prompt_of(PROMPT), limits))
    # the newest token of an answer that has ended is not read
    whole = PROMPT + plain[:-1]
    first = len(PROMPT) + PLAIN_TOKENS - 1
    where = None
    if threshold < 1 and len(whole) > first:
        where = lost_at(LayeredTable(seed), part, whole, first, LAYERS)
    expected = plain if where is None else plain[: where + 1 - len(PROMPT)]
    assert tokens_of(steps) == expected
    assert [step.lost for step in steps].count(True) == (where is not None)
    assert steps[-1].lost == (where is not None)
    if where is not None:
        assert "given up at layer" in steps[-1].reason
    # the engine is left usable
    assert tokens_of(Plain(engine).generate(prompt_of(PROMPT), limits)) == plain


@pytest.fixture
def fresh(deep: Path) -> Iterator[Any]:
    yield from opened(deep)


@pytest.mark.parametrize("name", ["plain", "lookup", "recycling", "skip", "speculate", "del"])
def test_it_wraps_whatever_runs_on_a_layer_engine(name: str, fresh: Any) -> None:
    """Trees, chains and single tokens of a real engine, read as the strategy likes."""
    method = METHODS[name]

    def tokens(gated: Part | None) -> tuple[list[int], Any]:
        engine = fresh()
        built = method.build(Engines(large=engine), build(method.settings, name), Aids())
        if gated is not None:
            built = StopWhenLost(built, engine, lambda kind: gated)
        steps = list(built.generate(prompt_of([5, 6, 7, 5, 6]), Limits(16)))
        return tokens_of(steps), steps[-1]

    whole, _ = tokens(None)
    rng = np.random.default_rng(2)
    arrays = {
        "depths": np.array([1, 3]),
        "stop.weight": rng.normal(0, 0.5, (2, 64)),
        "stop.bias": np.zeros(2),
    }
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    part = Part("sec", "0" * 16, arrays, {"form": "linear", THRESHOLD: 0.995})
    found, last = tokens(part)
    sequence = [5, 6, 7, 5, 6, *whole[:-1]]
    engine = fresh()
    if name != "skip":  # which leaves layers out, so that a whole forward sees other states
        where = lost_at(engine, part, sequence, 5 + PLAIN_TOKENS - 1, 4)
        assert where is not None, "choose another seed"
        assert found == whole[: where + 1 - 5] and last.lost
    assert found == whole[: len(found)]


def test_a_part_without_a_threshold_for_it_is_refused() -> None:
    engine = LayeredTable(1)
    with pytest.raises(ModelFileError, match=THRESHOLD):
        StopWhenLost(
            UnifiedSkip(engine, 2.0), engine, lambda kind: random_part("linear", kind=kind)
        )
