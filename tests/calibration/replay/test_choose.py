"""Which points are run for real."""

from __future__ import annotations

from functools import lru_cache
from random import Random

import pytest

from adec.calibration.costs.cost_tables import tables_from
from adec.calibration.replay.choose import (
    FIRST_RECORDS,
    LEAST_RECORDS,
    Chooser,
    Contender,
    better_half,
    promising,
    safe_and_fast,
    survey,
)
from adec.calibration.replay.grids import PAIR_FAMILIES, handicap
from adec.calibration.replay.recording import record
from adec.calibration.replay.simulate import Simulator
from adec.calibration.trials.measured import Measured, front
from adec.calibration.trials.trial import PLAIN, Point, Runner
from adec.decoding.pair.clock.cost_curve import Curves
from adec.decoding.registry import remaining
from adec.engines.pair import Engines
from adec.engines.table import TableEngine
from tests.calibration.tables import COSTS, SIZE, engines, plan_of, prompts

TOKENS = 12


def candidate(quality: float, ms: float) -> Contender:
    point = Point("ead", (("up", quality),))
    return Contender(point, 1, ms * 1000, 1000, round(quality * 1000), 1000)


def simulator_of(pair: Engines, costs=COSTS, *, count=24, tokens=TOKENS) -> Simulator:
    runner = Runner(plan_of(pair), pair, max_tokens=tokens)
    ids = [runner.encode(prompt) for prompt in prompts(1, count, fit=count).fit]
    answers = [runner.run(PLAIN, prompt).tokens for prompt in prompts(1, count, fit=count).fit]
    records = [record(pair, one, answer) for one, answer in zip(ids, answers, strict=True)]
    tables = tables_from(costs)
    curves = Curves(tables["large"].curve(16), tables["small"].curve(16))
    return Simulator(pair, tables, curves, ids, records, max_tokens=tokens)


@pytest.fixture(scope="module")
def simulator() -> Simulator:
    return simulator_of(engines(1))


def test_promising_points_lie_about_the_budget() -> None:
    known = [candidate(q, 1 + 10 * q) for q in (0.5, 0.8, 0.9, 0.95, 0.975, 0.99, 0.999)]
    found = [c.quality for c in promising(known, 0.97)]
    assert found == [0.975, 0.99, 0.95, 0.999, 0.9]


def test_the_safest_fast_point_is_fast_where_it_keeps_enough() -> None:
    known = [candidate(0.9, 1), candidate(0.98, 3), candidate(0.99, 2)]
    assert safe_and_fast(known, 0.97).quality == 0.99
    assert safe_and_fast(known, 0.995).quality == 0.99


def test_the_better_half_keeps_every_front_before_what_lies_behind_it() -> None:
    known = [candidate(q / 100, ms) for q, ms in zip(range(60, 100, 2), range(20), strict=True)]
    known += [candidate(0.5, 30 + i) for i in range(20)]
    kept = better_half(known)
    assert len(kept) >= len(known) / 2 and set(map(id, front(known))) <= set(map(id, kept))
    for one in known:
        if one not in kept:
            assert any(
                c.ms_per_token <= one.ms_per_token and c.quality >= one.quality for c in kept
            )


def test_a_survey_halves_its_points_and_compares_the_rest_on_the_same_records(simulator) -> None:
    for family in PAIR_FAMILIES.values():
        points = family.grid(simulator.records)
        found = survey(simulator, points)
        assert 0 < len(found) < len(points)
        assert {c.records for c in found} == {len(simulator.records)}
        # of its rivals on the first records, none was both faster and safer
        first = [Contender(c.point) for c in found]
        for one in first:
            for _ in range(FIRST_RECORDS):
                one.simulate(simulator)
        assert len(better_half(first)) >= len(first) / 2


def test_a_survey_without_time_still_sees_a_few_records(simulator) -> None:
    points = PAIR_FAMILIES["cascade"].grid(simulator.records)
    found = survey(simulator, points, late=lambda: True)
    assert len(found) == len(points) and {c.records for c in found} == {LEAST_RECORDS}


def test_what_averages_or_dwells_must_be_faster() -> None:
    simple = Point("ead", (("up", 0.5), ("window", 1), ("dwell", 0)))
    assert handicap(simple) == 1 == handicap(Point("fly", (("window", 6),)))
    for window, dwell in ((3, 0), (1, 3), (5, 10)):
        assert handicap(Point("ead", (("window", window), ("dwell", dwell)))) > 1


def sure_pair(ties: float, traps: float) -> Engines:
    """A small model that is always sure: where the large one wavers between two tokens it writes
    the second best, and in a trap a wrong one."""

    def drawn(prefix: tuple[int, ...]) -> tuple[float, list[int]]:
        rng = Random(f"{prefix[-5:]}")
        return rng.random(), rng.sample(range(SIZE), SIZE)

    def row(first: int, second: int, chance: float) -> list[float]:
        rest = 0.02 / (SIZE - 2)
        known = {first: chance, second: 0.98 - chance}
        return [known.get(token, rest) for token in range(SIZE)]

    def target(prefix: tuple[int, ...]) -> list[float]:
        kind, (first, second, *_) = drawn(prefix)
        return row(first, second, 0.5 if kind < ties else 0.95)

    def draft(prefix: tuple[int, ...]) -> list[float]:
        kind, (first, second, third, *_) = drawn(prefix)
        written = second if kind < ties else third if kind < ties + traps else first
        return row(written, (written + 1) % SIZE, 0.95)

    made = {
        name: TableEngine(lru_cache(None)(law), size=SIZE, name=name, context=192)
        for name, law in (("small", draft), ("large", target))
    }
    return Engines(**made)


def test_a_tolerant_point_is_run_where_it_is_faster_than_what_is_exact() -> None:
    """No entropy tells the ties from the traps: only the large model does."""
    costs = {
        "large": [[16, n, 100.0 + n, 0.1, 9, 0] for n in (1, 2, 4, 8, 16, 32, 64)],
        "small": [[16, n, 4.0 + n / 10, 0.01, 9, 0] for n in (1, 2, 4, 8, 16)],
    }
    pair = sure_pair(ties=0.2, traps=0.04)
    simulated = simulator_of(pair, costs, count=6, tokens=48)
    chooser = Chooser(simulated, allow=lambda share: lambda: True)
    able = ["speculate", "ead"]
    found = chooser.choose(able, Measured(PLAIN, True), keep=0.9, most=24, metric="answer")
    tolerant = [m for m in found.points if ("accept", "tolerant") in m.point.settings]
    assert tolerant
    exact = min(m.forecast_ms for m in found.points[1:] if m.exact)
    assert min(m.forecast_ms for m in tolerant) < exact


def test_drafters_without_a_model_are_candidates_of_a_pair(simulator) -> None:
    able = remaining(plan_of(engines(1)).models)
    chooser = Chooser(simulator, allow=lambda share: lambda: False)
    found = chooser.choose(able, Measured(PLAIN, True), keep=0.9, most=24)
    names = {m.point.strategy for m in found.points if m.exact}
    assert names >= {"plain", "speculate", "lookup", "suffix"}
