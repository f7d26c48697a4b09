"""A mean that begins with what was noted: where it begins, where it goes, how it goes back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adec.decoding.heads.noted_mean import NotedMean

shares = st.floats(0, 1)


@given(shares, st.lists(st.integers(0, 5), max_size=30))
def test_it_weighs_what_was_noted_as_so_many_observations(noted: float, seen: list[int]) -> None:
    mean = NotedMean(noted, trust=20.0, memory=80.0)
    for value in seen:
        mean.add(value)
    assert mean.value == pytest.approx((20 * noted + sum(seen)) / (20 + len(seen)))


@given(shares)
def test_old_observations_fade(noted: float) -> None:
    mean = NotedMean(noted, trust=20.0, memory=80.0)
    for _ in range(1000):
        mean.add(1.0)
    assert mean.value == pytest.approx(1, abs=1e-4)
    for _ in range(81):
        mean.add(0.0)
    # without fading, 1000 ones would still weigh more than 81 noughts
    assert mean.value < 0.5


@given(shares)
def test_softened_it_lies_half_of_the_way_back(noted: float) -> None:
    mean = NotedMean(np.full(3, noted), trust=60.0, memory=240.0)
    for _ in range(500):
        mean.add(np.array([1.0, 0.0, 0.5]))
    before = mean.value
    mean.soften()
    assert mean.value == pytest.approx((before + noted) / 2)
