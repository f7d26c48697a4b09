"""Entropy, margin and probabilities of a row against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from adec.signals import ArrayScores, ListedScores, ListedSignals, RollingMean


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


@given(
    arrays(np.float32, st.integers(2, 40), elements=st.floats(-8, 8, width=32)),
    st.integers(1, 50),
)
def test_a_record_gives_the_signals_of_the_row_that_it_was_made_from(row, listed) -> None:
    full = ArrayScores(row[None])
    top = full.top(0, listed)
    columns = (
        np.array([full.entropy(0)]),
        np.array([[token for token, _ in top]], dtype=np.float64),
        np.array([[probability for _, probability in top]]),
    )
    record, scores = ListedSignals(*columns), ListedScores(*columns, size=len(row))
    for signals in (record, scores):
        assert len(signals) == 1
        assert signals.argmax(0) == full.argmax(0)
        assert signals.top(0, listed) == top
        assert signals.entropy(0) == full.entropy(0)
        for token, probability in top:
            assert signals.probability(0, token) == probability
        if len(top) > 1:
            assert signals.margin(0) == pytest.approx(full.margin(0), abs=1e-6)
    rebuilt = ArrayScores(scores.row(0)[None])
    for token in range(len(row)):
        assert record.probability(0, token) <= scores.probability(0, token) + 1e-12
        assert rebuilt.probability(0, token) == pytest.approx(
            scores.probability(0, token), abs=1e-6
        )


def test_a_row_of_few_possible_tokens_repeats_its_last_one_in_a_record() -> None:
    scores = ListedScores(np.zeros(1), np.array([[3.0, 3.0]]), np.array([[1.0, 1.0]]), size=5)
    assert scores.top(0, 2) == [(3, 1.0)]
    assert scores.margin(0) == 1
    assert scores.probability(0, 0) == 0
    assert scores.row(0).argmax() == 3


def test_columns_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="same rows"):
        ListedSignals(np.zeros(2), np.zeros((1, 3)), np.zeros((1, 3)))


def test_rolling_mean_forgets() -> None:
    mean = RollingMean(2)
    assert [mean.add(x) for x in (1.0, 3.0, 5.0)] == [1.0, 2.0, 4.0]
    mean.reset()
    assert mean.value == 0
