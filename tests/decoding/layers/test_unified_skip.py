"""Layers left out evenly: the prompt with all of them, the answer without."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adec.decoding.layers.unified_skip import UnifiedSkip, kept_layers
from adec.decoding.strategy import Limits
from tests.engines.torch.test_layer_engine import deep, opened
from tests.laws import prompt_of

__all__ = ["deep"]


@given(st.integers(3, 200), st.floats(1, 100))
def test_layers_are_spread_evenly(layers: int, speedup: float) -> None:
    kept = kept_layers(layers, speedup)
    assert kept[0] == 0 and kept[-1] == layers - 1
    assert len(kept) == max(2, int(layers / speedup))
    gaps = [after - before for before, after in pairwise(kept)]
    assert max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize(
    ("layers", "speedup", "kept"),
    [(30, 5, [0, 6, 12, 17, 23, 29]), (30, 10, [0, 14, 29]), (24, 1, list(range(24)))],
)
def test_examples(layers: int, speedup: float, kept: list[int]) -> None:
    assert kept_layers(layers, speedup) == kept


@pytest.fixture
def fresh(deep: Path) -> Iterator[Any]:
    yield from opened(deep)


def test_the_answer_is_that_of_the_shallow_model_behind_a_prompt_of_the_whole(fresh: Any) -> None:
    engine, by_hand = fresh(), fresh()
    prompt = [5, 6, 7, 8]
    steps = list(UnifiedSkip(engine, 2.0).generate(prompt_of(prompt), Limits(12)))
    tokens = [token.id for step in steps for token in step.tokens]
    scores = by_hand.forward(prompt)
    expected = []
    while len(expected) < 12:
        expected.append(scores.argmax(0))
        if len(expected) == 3:
            by_hand.leave_out([1, 2])
        scores = by_hand.forward(expected[-1:])
    assert tokens == expected
    layers = [forward.layers for step in steps for forward in step.forwards]
    assert layers == [None] * 3 + [2] * 9
    # the next answer begins with all layers again
    again = list(UnifiedSkip(engine, 2.0).generate(prompt_of(prompt), Limits(12)))
    assert [token.id for step in again for token in step.tokens] == tokens
