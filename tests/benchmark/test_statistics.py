"""Intervals cover what they promise; totals do not grow and do not depend on order."""

from __future__ import annotations

import random

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adec.benchmark import totals as totals_module
from adec.benchmark.bench_report import make_rows
from adec.benchmark.columns import short
from adec.benchmark.samples import BenchAnswer, PromptResult, RowHeader
from adec.benchmark.statistics import Interval, Share, median_interval, outliers
from adec.benchmark.totals import Totals


def test_the_bootstrap_interval_covers_the_median() -> None:
    """300 draws of 40 values of a skewed law. At a true coverage of 90 % or more (95 % is nominal,
    the percentile bootstrap of a median falls a little short), fewer than 250 hits have a chance
    below 1 in 10,000."""
    rng = np.random.default_rng(7)
    hits = 0
    for trial in range(300):
        found = median_interval(rng.exponential(size=40), trial)
        assert found is not None and found.low is not None and found.high is not None
        assert found.low <= found.middle <= found.high
        hits += found.low <= np.log(2) <= found.high
    assert hits >= 250


def test_few_values_have_no_bounds() -> None:
    assert median_interval(np.array([]), 0) is None
    assert median_interval(np.array([1.0, 2.0, 4.0]), 0) == Interval(2.0, count=3)


def test_an_interval_repeats_with_its_seed() -> None:
    values = np.random.default_rng(1).random(30)
    assert median_interval(values, 5) == median_interval(values, 5) != median_interval(values, 6)


@pytest.mark.parametrize(
    ("part", "count", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (5, 10, 0.2366, 0.7634),
        (10, 10, 0.7225, 1.0),
        (81, 263, 0.2553, 0.3662),
    ],
)  # fmt: skip
def test_wilson(part: int, count: int, low: float, high: float) -> None:
    """Values of the published formula; 81 of 263 is Newcombe's (1998) example."""
    assert Share(part, count).interval == pytest.approx((low, high), abs=1e-4)


def test_outliers() -> None:
    values = np.array([1.0, 1.1, 0.9, 1.05, 0.95, 1.0, 30.0])
    assert outliers(values).tolist() == [6]
    assert outliers(np.ones(20)).tolist() == [] == outliers(values[:3]).tolist()


def result(index: int, times: dict[str, float], right: bool = True, tokens: int = 10):
    answers = tuple(
        BenchAnswer(
            row, 0, seconds, tokens, "x", first_seconds=seconds / 5, right=right, same=True,
            leading=tokens, forward_ms=900 * seconds, fed_work=90, prompt_fed_work=10,
            large_forwards=9, large_fed=9, large_tokens=10, guarantee="exact",
        )
        for row, seconds in times.items()
    )  # fmt: skip
    return PromptResult(index, "g", "k", answers, load=0.1)


ROWS = [RowHeader("plain", "strategy"), RowHeader("fast", "strategy")]


def fold(results, seed: int = 0) -> Totals:
    totals = Totals(ROWS, seed)
    for one in results:
        totals.add(one)
    return totals


def test_figures_by_hand() -> None:
    totals = fold(
        result(i, {"plain": 0.2 + 0.01 * i, "fast": 0.1 + 0.005 * i}, i % 2 == 0) for i in range(9)
    )
    plain, fast = make_rows(totals, 0)
    assert fast.ratio == Interval(pytest.approx(2.0), pytest.approx(2.0), pytest.approx(2.0), 9)
    assert plain.speed is not None and plain.speed.middle == pytest.approx(10 / 0.24)
    assert plain.accuracy == Share(5, 9) and plain.same == Share(9, 9)
    assert plain.per_forward == 1.0 == plain.read == plain.wrote == plain.leading
    assert plain.work == 1.0 and plain.overhead == pytest.approx(0.1)
    assert plain.groups["g: k"].right == 5


def test_speed_is_reported_for_each_kind_of_task() -> None:
    slow = [result(i, {"plain": 0.2, "fast": 0.2}) for i in range(5)]
    quick = [
        msgspec.structs.replace(result(i, {"plain": 0.2, "fast": 0.1}), kind="l")
        for i in range(5, 8)
    ]
    _, fast = make_rows(fold([*slow, *quick]), 0)
    assert {name: (found.middle, found.count) for name, found in fast.ratios.items()} == {
        "g: k": (pytest.approx(1.0), 5),
        "g: l": (pytest.approx(2.0), 3),
    }


@settings(deadline=None, max_examples=20)
@given(st.randoms(use_true_random=False))
def test_order_does_not_matter(rng: random.Random) -> None:
    results = [result(i, {"plain": 0.1 + i / 50, "fast": 0.3 / (i + 1)}) for i in range(12)]
    shuffled = list(results)
    rng.shuffle(shuffled)
    whole = totals_module.KEPT
    totals_module.KEPT = 7
    try:
        one, other = fold(results), fold(shuffled)
    finally:
        totals_module.KEPT = whole
    assert one.kept == 7
    for name in ("plain", "fast"):
        for mine, theirs in zip(one.values(name), other.values(name), strict=True):
            assert mine.tolist() == theirs.tolist()
    assert [r.speed for r in make_rows(one, 3)] == [r.speed for r in make_rows(other, 3)]


def test_the_kept_prompts_are_a_fair_draw() -> None:
    """Indices kept of 40,000: their mean is within 5 standard errors of the middle (chance of
    failure 1 in 1.7 million).
    """
    totals = fold(result(i, {"plain": float(i + 1)}) for i in range(40_000))
    times, _, _ = totals.values("plain")
    count = totals_module.KEPT
    assert times.shape == (count,)
    assert abs(times.mean() / 100 - 20_000) < 5 * 40_000 / (12 * count) ** 0.5


def test_repetitions_are_no_evidence_on_quality_but_smooth_times() -> None:
    answers = tuple(
        BenchAnswer("plain", run, seconds, 10, "x", right=run == 0)
        for run, seconds in enumerate((0.1, 0.2, 9.0))
    )
    totals = fold([PromptResult(0, "g", "", answers)])
    (plain, _) = make_rows(totals, 0)
    assert plain.accuracy == Share(1, 1)
    assert plain.speed is not None and plain.speed.middle == pytest.approx(50)


@settings(deadline=None)
@given(st.floats(1e-6, 1e9))
def test_short_keeps_three_digits(value: float) -> None:
    assert float(short(value)) == pytest.approx(value, rel=6e-3)
    assert "e" not in short(value)
