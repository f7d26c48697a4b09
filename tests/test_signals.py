"""Entropy, margin and probabilities of a row against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from adec.signals import ArrayScores, RollingMean, compared


@given(
    arrays(np.float32, (2, 9), elements=st.floats(-8, 8, width=32)),
)
def test_the_distance_of_two_rows_is_the_total_variation_of_their_laws(rows) -> None:
    first, second = ArrayScores(rows[:1]), ArrayScores(rows[1:])
    expected = sum(abs(first.probability(0, t) - second.probability(0, t)) for t in range(9)) / 2
    assert first.distance(0, second, 0) == pytest.approx(expected, abs=1e-5)
    assert first.distance(0, second, 0) == pytest.approx(second.distance(0, first, 0), abs=1e-6)
    assert first.distance(0, first, 0) == 0


def test_a_signal_is_told_with_digits_that_set_it_apart_from_its_threshold() -> None:
    assert compared(1.789, ">", 0.5) == "1.79 > 0.50"
    assert compared(0.1492, ">", 0.1458) == "0.1492 > 0.1458"
    assert compared(0.5, "<=", 0.5) == "0.50 <= 0.50"
    assert compared(float("inf"), ">", 0.5) == "inf > 0.50"


def test_rolling_mean_forgets() -> None:
    mean = RollingMean(2)
    assert [mean.add(x) for x in (1.0, 3.0, 5.0)] == [1.0, 2.0, 4.0]
    mean.reset()
    assert mean.value == 0
