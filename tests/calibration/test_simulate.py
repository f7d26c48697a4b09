"""Strategies that run on records: what they write, how often the large model is asked, and whose clock counts."""

from __future__ import annotations

import pytest

from adec.calibration.forward_times import tables_from
from adec.calibration.recording import record
from adec.calibration.simulate import Simulator, forecast
from adec.calibration.trial import Measured, Point, Runner
from adec.decoding.pair.clock.cost_curve import Curves
from tests.calibration.tables import COSTS, engines, plan_of, prompts

TOKENS = 20
EXACT = (
    Point("plain"),
    Point("speculate"),
    Point("smartspec"),
    Point("dyspec"),
    Point("adaedl"),
    Point("ead", (("up", 0.5), ("window", 1), ("dwell", 0), ("accept", "exact"))),
    Point("cascade", (("drafts", 3), ("accept", "exact"))),
)


def known(seed: int, *, likeness: float = 0.8):
    """A runner, a simulator of the same pair, a prompt, its answer and its record."""
    pair = engines(seed, likeness=likeness)
    tables = tables_from(COSTS)
    curves = Curves(tables["large"].curve(16), tables["small"].curve(16))
    runner = Runner(plan_of(pair), pair, max_tokens=TOKENS)
    asked = prompts(seed, 1, fit=1).fit[0]
    answer = runner.run(Point("plain"), asked).tokens
    kept = record(pair, runner.encode(asked), answer)
    simulator = Simulator(plan_of(pair), pair, tables, curves, max_tokens=TOKENS)
    return runner, simulator, asked, answer, kept


@pytest.mark.parametrize("point", EXACT, ids=lambda point: point.label)
def test_what_is_exact_writes_the_answer_again(point: Point) -> None:
    for seed in range(6):
        _, simulator, asked, answer, kept = known(seed)
        assert simulator.run(point, asked, kept).tokens == answer


@pytest.mark.parametrize("point", EXACT[4:], ids=lambda point: point.label)
def test_where_drafts_are_right_the_rounds_are_those_of_a_run(point: Point) -> None:
    """For methods that look at no clock."""
    settled = 0
    for seed in range(12):
        runner, simulator, asked, _, kept = known(seed, likeness=0.97)
        if kept.agrees.all() and len(kept) > 2:
            settled += 1
            real, replayed = runner.run(point, asked), simulator.run(point, asked, kept)
            assert replayed.large_forwards == real.large_forwards
            assert replayed.large_fed == real.large_fed
    assert settled > 1


def test_forwards_take_what_the_tables_say() -> None:
    """Plain decoding: one forward of one token for each token after the first, 11 ms each."""
    _, simulator, asked, answer, kept = known(3)
    run = simulator.run(Point("plain"), asked, kept)
    assert run.ms - run.own_ms == pytest.approx(11.0 * (len(answer) - 1))


def test_a_table_between_two_contexts() -> None:
    table = tables_from({"large": [[16, 1, 10, 0, 5, 0], [116, 1, 20, 0, 5, 0]]})["large"]
    assert [table.ms(1, context) for context in (0, 16, 66, 116, 900)] == [10, 10, 15, 20, 20]


def test_a_forecast_on_the_tables_own_clock_is_what_a_run_takes() -> None:
    """Runs whose forwards took what the tables say: the forecast is off by adec's own time at most."""
    runner, simulator, asked, _, kept = known(2, likeness=0.97)
    measured = [Measured(point, True) for point in EXACT]
    for point in measured:
        point.runs = [simulator.run(point.point, asked, kept)] * 3
    forecast(measured, [asked] * 3, [kept] * 3, simulator)
    for point in measured[4:]:
        own = sum(r.own_ms for r in point.runs) / sum(r.decoded for r in point.runs)
        assert point.forecast_ms == pytest.approx(point.ms_per_token, abs=own)
    assert runner.engines["large"] is not None
