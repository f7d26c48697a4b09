"""Exact tails against known values and against each other; bounds against their own promise."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adec.calibration.trials.proof import binomial_tail, p_value, prompts_needed, upper_bound


@pytest.mark.parametrize(
    ("k", "n", "p", "tail"),
    [
        (0, 10, 0.5, 1 / 1024),
        (5, 10, 0.5, 638 / 1024),
        (2, 20, 0.1, 0.9**20 + 20 * 0.1 * 0.9**19 + 190 * 0.01 * 0.9**18),
        (-1, 10, 0.5, 0.0),
        (10, 10, 0.5, 1.0),
        (3, 10, 0.0, 1.0),
        (3, 10, 1.0, 0.0),
    ],
)
def test_tails_written_out(k: int, n: int, p: float, tail: float) -> None:
    assert binomial_tail(k, n, p) == pytest.approx(tail, rel=1e-9)


@given(st.integers(1, 400), st.data(), st.integers(1, 99))
@settings(deadline=None, max_examples=60)
def test_tails_equal_exact_fractions(n: int, data: st.DataObject, percent: int) -> None:
    k = data.draw(st.integers(0, n))
    p = Fraction(percent, 100)
    whole = sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1))
    assert binomial_tail(k, n, percent / 100) == pytest.approx(float(whole), rel=1e-9)


def test_the_tail_is_the_sum_over_all_outcomes() -> None:
    p = 0.3
    for k in range(7):
        whole = sum(
            math.prod(p if hit else 1 - p for hit in outcome)
            for outcome in product((0, 1), repeat=6)
            if sum(outcome) <= k
        )
        assert binomial_tail(k, 6, p) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize(
    ("failures", "n", "confidence", "bound"),
    [
        # one-sided Clopper-Pearson: 1 - (1 - c)^(1/n) without failures; the "rule of three"
        (0, 100, 0.95, 1 - 0.05**0.01),
        (0, 299, 0.95, 1 - 0.05 ** (1 / 299)),
        # with one failure the bound solves (1-p)^n + n p (1-p)^(n-1) = 1 - c
        (1, 50, 0.9, 0.0755895),  # the 0.9 quantile of Beta(2, 49)
    ],
)
def test_clopper_pearson(failures: int, n: int, confidence: float, bound: float) -> None:
    losses = [1.0] * failures + [0.0] * (n - failures)
    found = upper_bound(losses, confidence)
    assert binomial_tail(failures, n, found) == pytest.approx(1 - confidence, rel=1e-6)
    if failures == 0:
        assert found == pytest.approx(bound, rel=1e-9)
    else:
        assert found == pytest.approx(bound, rel=0.02)


def test_every_clopper_pearson_bound_keeps_its_promise_exactly() -> None:
    """Over all outcomes of n trials, the chance that the bound lies below the truth is at most 1 -
    confidence; no sampling."""
    n, confidence = 25, 0.9
    bounds = [upper_bound([1.0] * k + [0.0] * (n - k), confidence) for k in range(n + 1)]
    for truth in (0.01, 0.03, 0.1, 0.2, 0.5, 0.9):
        missed = sum(
            math.comb(n, k) * truth**k * (1 - truth) ** (n - k)
            for k in range(n + 1)
            if bounds[k] < truth
        )
        assert missed <= 1 - confidence + 1e-9


@settings(deadline=None)
@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=60),
    st.floats(0.01, 0.99),
    st.floats(0.5, 0.99),
)
def test_bounds_and_p_values_are_the_same_statement(
    losses: list[float], level: float, confidence: float
) -> None:
    bound = upper_bound(losses, confidence)
    if abs(bound - level) > 1e-6:
        assert (p_value(losses, level) <= 1 - confidence) == (bound < level)
    assert bound >= sum(losses) / len(losses) - 1e-9


@settings(deadline=None)
@given(st.floats(0, 0.2), st.floats(0.02, 0.5), st.booleans())
def test_the_number_of_prompts_does(mean: float, level: float, binary: bool) -> None:
    needed = prompts_needed(mean, level, 0.95, binary=binary)
    if mean >= level:
        assert needed is None
    elif needed is not None and needed < 2000 and not binary and 0 < mean < 1:
        assert p_value([mean] * needed, level) <= 0.05
        assert needed == 1 or p_value([mean] * (needed // 2), level) > 0.05


def test_without_prompts_nothing_is_proved() -> None:
    assert p_value([], 0.5) == 1.0
    assert upper_bound([], 0.9) == 1.0
    assert prompts_needed(0.0, 0.03, 0.95, binary=True) == 99
    assert prompts_needed(0.0, 0.0, 0.95, binary=True) is None
    with pytest.raises(ValueError, match="between 0 and 1"):
        p_value([1.5], 0.5)
