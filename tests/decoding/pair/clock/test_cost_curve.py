"""Forward times: curves through points, learnt in a run, measured at first use."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adec.decoding.pair.clock.cost_curve import GRID, CostCurve, LearnedCurve, upper_bounds
from adec.decoding.pair.clock.kept_curve import KeptTimes, keep_curve, kept_curve
from adec.decoding.pair.clock.round_costs import FINDING_OUT, GRACE, READING, RoundCosts
from adec.engines.table import TableEngine
from adec.events.records import Forward, Step, Token


def test_a_curve_goes_through_its_points_and_straight_between() -> None:
    curve = CostCurve({1: 10.0, 4: 13.0, 5: 20.0})
    assert [curve.ms(n) for n in (0, 1, 2, 4, 5)] == [0, 10, 11, 13, 20]
    assert curve.ms(9) == pytest.approx(20 + 4 * 10 / 4)  # the mean slope goes on


@given(st.dictionaries(st.integers(1, 64), st.floats(0, 1e4), min_size=1), st.integers(2, 70))
def test_a_forward_is_filled_up_only_to_one_that_is_cheaper(points, size) -> None:
    curve = CostCurve(points)
    filled = curve.filled(size)
    most = size + max(8, size)
    assert size <= filled <= most and curve.ms(size) >= 0
    if filled > size:
        assert curve.ms(size) == points[filled]
        assert all(points[filled] <= ms for n, ms in points.items() if size < n <= most)


def test_a_full_block_is_cheaper_than_one_nearly_full() -> None:
    curve = CostCurve({1: 20.0, 8: 100.0, 15: 200.0, 16: 143.0, 17: 160.0, 31: 350.0, 32: 280.0})
    assert [curve.filled(n) for n in (1, 2, 11, 13, 16, 17, 27)] == [1, 2, 11, 16, 16, 17, 32]
    assert curve.ms(15) == 143 and curve.ms(0) == 0
    assert CostCurve({1: 10.0, 2: 9.9}).filled(1) == 1  # plain decoding is not filled up
    assert CostCurve({4: 10.0, 5: 9.9}).filled(4) == 4  # no more than chance


def test_a_curve_learns_medians_of_late_forwards() -> None:
    times = LearnedCurve()
    assert times.curve is None
    for ms in (99.0, 10.0, 11.0, 10.0):
        times.record(1, ms)
    assert times.curve is not None and times.curve.ms(1) == 10.0
    assert times.hopeful is not None
    assert 10 < times.hopeful.ms(4) < 4 * 10 == times.curve.ms(4)  # unseen
    for _ in range(9):
        times.record(1, 20.0)
    assert times.curve.ms(1) == 20


def test_times_of_long_ago_are_forgotten_and_what_was_measured_is_not() -> None:
    times = LearnedCurve(CostCurve({1: 1.0, 8: 2.0}))
    for _ in range(9):
        times.record(1, 20.0)
    assert times.curve.ms(8) == pytest.approx(40.0)
    times.forget()
    assert times.points == {1: 1.0, 8: 2.0} and times.count(1) == 0
    alone = LearnedCurve()
    alone.record(1, 20.0)
    alone.forget()
    assert alone.curve is None


def test_a_measured_curve_is_scaled_to_the_machines_speed_today() -> None:
    times = LearnedCurve(CostCurve({1: 10.0, 2: 11.0, 4: 12.0}))
    times.record(1, 20.0)
    assert times.curve is not None
    assert [times.curve.ms(n) for n in (1, 2, 4)] == [20, 22, 24]


def kept_by(engine: TableEngine, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADEC_HOME", str(folder))
    keep_curve(engine, CostCurve({1: 10.0, 4: 12.5}))


def test_a_curve_is_kept_and_what_is_no_curve_is_not_read(tmp_path, monkeypatch) -> None:
    engine = TableEngine(lambda p: [1.0] * 6, size=6)
    monkeypatch.setenv("ADEC_HOME", str(tmp_path))
    assert kept_curve(engine) is None
    kept_by(engine, tmp_path, monkeypatch)
    kept = kept_curve(engine)
    assert kept is not None and kept.points == {1: 10.0, 4: 12.5}
    (path,) = (tmp_path / "cost").iterdir()
    good = path.read_bytes()
    for wrong in (
        b"",
        b"[]",
        b'{"schema": 3}',
        b'{"schema": 3, "ms": {"0": 1}}',
        b'{"schema": 3, "ms": {"1": "x"}}',
        good.replace(b'"schema": 3', b'"schema": 2'),
    ):
        path.write_bytes(wrong)
        assert kept_curve(engine) is None


def test_a_curve_is_kept_by_threads_and_one_of_before_that_still_counts(
    tmp_path, monkeypatch
) -> None:
    engine = TableEngine(lambda prefix: [0.5, 0.5], size=2)
    engine.info = replace(engine.info, format="gguf")
    kept_by(engine, tmp_path, monkeypatch)  # as older versions did, which knew no threads
    engine.threads = 2
    times = KeptTimes(engine)
    assert times.points == {1: 10.0, 4: 12.5}
    times.record(1, 5.0)
    engine.threads = 1
    times.keep()  # times of two counts are mixed: they are kept for neither
    assert len(list((tmp_path / "cost").iterdir())) == 1
    engine.threads = 2
    times.keep()
    kept = kept_curve(engine)
    assert kept is not None and kept.points[1] == 5.0
    engine.threads = 1
    kept = kept_curve(engine)
    assert kept is not None and kept.points == {1: 10.0, 4: 12.5}


POINTS = st.dictionaries(st.integers(1, 64), st.floats(0.1, 1e4), min_size=1).map(
    # a forward costs at least what a smaller one does, and at most what its parts do
    lambda points: {1: 1.0} | points
)


@given(POINTS)
def test_unknown_sizes_cost_what_smaller_or_larger_forwards_do(points) -> None:
    bounds = upper_bounds(points)
    assert not set(bounds) & set(points)
    for size, ms in bounds.items():
        assert any(ms == points[n] * -(-size // n) for n in points if n <= size) or any(
            ms == points[n] for n in points if n >= size
        )


def test_a_curve_is_cautious_where_nothing_was_measured_and_hopeful_if_asked() -> None:
    times = LearnedCurve()
    times.record(1, 10.0)
    times.record(64, 100.0)
    assert times.is_sparse and times.curve is not None and times.hopeful is not None
    assert times.curve.ms(4) == 40 and times.curve.ms(16) == 100
    assert times.hopeful.ms(4) < 15
    for size in GRID:
        times.record(size, 10.0 + size)
    assert not times.is_sparse


def test_long_prompts_are_kept_by_powers_of_two() -> None:
    times = LearnedCurve()
    for size in (65, 100, 127):
        times.record(size, 2.0 * size)
    assert times.points == {64: 128.0}


def test_nothing_is_measured_for_its_own_sake(tmp_path, monkeypatch) -> None:
    """From two lone times and a prompt, a curve; the engine is fed nothing but that."""
    monkeypatch.setenv("ADEC_HOME", str(tmp_path))
    costs = RoundCosts(TableEngine(lambda p: [1.0] * 6, size=6))
    assert costs.curve is None and costs.prompt_sizes(1000) == ()
    costs.record_prompt(Step("prompt", (), (Forward("large", "prompt", 256, 2560.0),)))
    for _ in range(3):
        costs.record(step(1, 20.0), plain=True)
    assert costs.curve is not None and costs.curve.ms(1) == 20
    # the end of the next long prompt is read in parts that teach, within what that may cost
    sizes = costs.prompt_sizes(1000)
    assert sizes and sum(costs.curve.ms(n) - 10 * n for n in sizes) <= READING * 10_000
    assert costs.prompt_sizes(20) == ()


@pytest.mark.parametrize("gain", [0, 3])
def test_finding_out_loses_at_most_a_hundredth_a_few_rounds_and_one_forward(gain: int) -> None:
    costs = RoundCosts(TableEngine(lambda p: [1.0] * 6, size=6), CostCurve({1: 10.0}))
    lost = largest = 0.0
    for number in range(1000):
        explores = costs.may_explore
        tokens, ms = (1 + gain, 60.0) if explores else (1, 10.0)
        costs.record(step(tokens, ms, size=4 + number % 50), plain=not explores, explored=explores)
        if explores:
            lost += ms - 10.0 * tokens
            largest = max(largest, ms)
        run_ms = 10.0 * number
        allowed = GRACE * 10.0 + FINDING_OUT * (run_ms + lost + 60 * number / 10)
        assert lost <= allowed + largest


def test_what_was_kept_in_a_busy_moment_is_replaced_by_faster_times(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ADEC_HOME", str(tmp_path))
    engine = TableEngine(lambda p: [1.0] * 6, size=6)
    engine.info = replace(engine.info, format="gguf")
    for ms, kept in ((40.0, 40.0), (39.0, 40.0), (20.0, 20.0), (60.0, 20.0)):
        costs = RoundCosts(engine)
        for _ in range(9):
            costs.record(step(1, ms), plain=True)
        costs.keep()
        curve = kept_curve(engine)
        assert curve is not None and curve.points == {1: kept}


def step(tokens: int, ms: float, size: int | None = None) -> Step:
    written = tuple(Token(1, "large") for _ in range(tokens))
    return Step("write", written, (Forward("large", "write", size or tokens, ms),))
