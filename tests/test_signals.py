"""Entropy, margin and probabilities of a row against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from adec.signals import ArrayScores, RollingMean


@given(
    arrays(np.float32, st.integers(2, 40), elements=st.floats(-30, 30, width=32)),
    st.floats(-500, 500),
)
def test_signals_match_their_definitions(row, shift) -> None:
    scores = ArrayScores((row + np.float32(shift))[None])
    exact = (row + np.float32(shift)).astype(np.float64)
    p = np.exp(exact - exact.max())
    p /= p.sum()
    assert scores.entropy(0) == pytest.approx(float(-(p[p > 0] * np.log(p[p > 0])).sum()), abs=2e-4)
    first, second = np.sort(p)[::-1][:2]
    assert scores.margin(0) == pytest.approx(first - second, abs=1e-5)
    assert scores.probability(0, 0) == pytest.approx(p[0], abs=1e-5)
    top = scores.top(0, 3)
    assert top[0][0] == scores.argmax(0)
    assert [q for _, q in top] == sorted((q for _, q in top), reverse=True)


def test_certain_and_impossible_tokens() -> None:
    scores = ArrayScores(np.array([[0.0, -math.inf, -math.inf]], dtype=np.float32))
    assert scores.entropy(0) == 0
    assert scores.margin(0) == 1
    assert scores.top(0, 2)[0] == (0, 1.0)


def test_ties_go_to_the_lowest_id() -> None:
    scores = ArrayScores(np.array([[1.0, 2.0, 2.0, 0.0]], dtype=np.float32))
    assert scores.argmax(0) == 1
    assert [token for token, _ in scores.top(0, 3)] == [1, 2, 0]


def test_rolling_mean_forgets() -> None:
    mean = RollingMean(2)
    assert [mean.add(x) for x in (1.0, 3.0, 5.0)] == [1.0, 2.0, 4.0]
    mean.reset()
    assert mean.value == 0
