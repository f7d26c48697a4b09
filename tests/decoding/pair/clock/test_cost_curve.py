"""Forward times: curves through points, learnt in a run, measured at first use."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adec.decoding.pair.clock.cost_curve import CostCurve, LearnedCurve
from adec.decoding.pair.clock.first_use import SIZES, keep_curve, kept_curve, measure
from tests.decoding.clock import Clock, TimedTable, cpu


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
    assert times.curve is not None and times.curve.ms(1) == 10.5
    assert 10.5 < times.curve.ms(4) < 4 * 10.5  # unseen: between flat and linear
    for _ in range(9):
        times.record(1, 20.0)
    assert times.curve.ms(1) == 20


def test_times_of_long_ago_are_forgotten_and_what_was_measured_is_not() -> None:
    times = LearnedCurve(CostCurve({1: 1.0, 8: 2.0}))
    for _ in range(9):
        times.record(1, 20.0)
    assert times.curve.ms(8) == pytest.approx(40.0)
    times.forget()
    assert times.curve.points == {1: 1.0, 8: 2.0} and times.count(1) == 0
    alone = LearnedCurve()
    alone.record(1, 20.0)
    alone.forget()
    assert alone.curve is None


def test_a_measured_curve_is_scaled_to_the_machines_speed_today() -> None:
    times = LearnedCurve(CostCurve({1: 10.0, 2: 11.0, 4: 12.0}))
    times.record(1, 20.0)
    assert times.curve is not None
    assert [times.curve.ms(n) for n in (1, 2, 4)] == [20, 22, 24]


def test_measuring_is_kept(tmp_path, monkeypatch) -> None:
    clock = Clock()
    monkeypatch.setattr("adec.decoding.pair.clock.first_use.perf_counter", clock)
    engine = TimedTable(lambda p: [1.0] * 6, clock, cpu(10, 2), size=6, context=20)
    curve = measure(engine)
    assert engine.length == 0
    assert curve.points == pytest.approx({n: 10 + 2 * (n - 1) for n in SIZES if n <= 20})
    assert kept_curve(engine, tmp_path) is None
    keep_curve(engine, curve, tmp_path)
    kept = kept_curve(engine, tmp_path)
    assert kept is not None and kept.points == pytest.approx(curve.points)
    (path,) = tmp_path.iterdir()
    for wrong in (
        b"",
        b"[]",
        b'{"schema": 2}',
        b'{"schema": 2, "ms": {"0": 1}}',
        b'{"schema": 2, "ms": {"1": "x"}}',
        b'{"schema": 1, "ms": {"1": 2.0}}',
    ):
        path.write_bytes(wrong)
        assert kept_curve(engine, tmp_path) is None


def test_measuring_stops_in_time(monkeypatch) -> None:
    clock = Clock()
    monkeypatch.setattr("adec.decoding.pair.clock.first_use.perf_counter", clock)
    engine = TimedTable(lambda p: [1.0] * 6, clock, cpu(2000, 100), size=6)
    curve = measure(engine, seconds=3.0)
    assert set(curve.points) == {1, 2, 3, 4}
    assert clock.now < 2 + 4 * 2.4
