"""Strategies that run on records: they write what real runs write, as far as the path goes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adec.calibration.costs.cost_tables import tables_from
from adec.calibration.replay.choose import Contender
from adec.calibration.replay.recording import record
from adec.calibration.replay.simulate import Columns, RecordedScores, Simulator, forecast
from adec.calibration.trials.measured import Measured
from adec.calibration.trials.trial import Point, Runner
from adec.decoding.pair.clock.cost_curve import Curves
from adec.decoding.registry import find_method
from adec.decoding.strategy import Aids, Limits, Prompt
from adec.signals import ArrayScores
from tests.calibration.tables import COSTS, engines, plan_of, prompts

TOKENS = 24
EXACT = (
    Point("plain"),
    Point("speculate"),
    Point("smartspec"),
    Point("dyspec"),
    Point("adaedl"),
    Point("ead", (("up", 0.5), ("window", 1), ("dwell", 0), ("accept", "exact"))),
    Point("ead", (("up", 0.7), ("window", 3), ("dwell", 2), ("accept", "exact"))),
    Point("cascade", (("drafts", 3), ("accept", "exact"))),
)


class Known:
    """A pair, a simulator of it, a prompt, the large model's answer and the record of it."""

    def __init__(self, seed: int, *, likeness: float = 0.8) -> None:
        self.pair = engines(seed, likeness=likeness)
        self.tables = tables_from(COSTS)
        curves = Curves(self.tables["large"].curve(16), self.tables["small"].curve(16))
        self.runner = Runner(plan_of(self.pair), self.pair, max_tokens=TOKENS)
        self.prompt = prompts(seed, 1, fit=1).fit[0]
        ids = self.runner.encode(self.prompt)
        self.answer = self.runner.run(Point("plain"), self.prompt).tokens
        self.record = record(self.pair, ids, self.answer)
        self.simulator = Simulator(
            self.pair, self.tables, curves, [ids], [self.record], max_tokens=TOKENS
        )

    def steps(self, point: Point):
        """The steps of a real run."""
        method = find_method(point.strategy)
        strategy = method.build(self.pair, point.build_settings(), Aids())
        limits = Limits(TOKENS, self.pair["large"].vocabulary.end)
        return list(strategy.generate(Prompt(tuple(self.runner.encode(self.prompt))), limits))

    def ms(self, steps) -> float:
        """What the forwards of a real run would have taken by the tables, prompts apart."""
        return sum(
            self.tables[f.model].ms(f.tokens, 16)
            for step in steps
            for f in step.forwards
            if f.purpose != "prompt"
        )


def common(first, second) -> int:
    return next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b),
        min(len(first), len(second)),
    )


@given(
    st.integers(0, 30),
    st.floats(0, 1.8),
    st.floats(0, 1),
    st.integers(1, 5),
    st.integers(0, 6),
    st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_ead_simulated_is_ead_run(seed, up, share, window, dwell, reset) -> None:
    known = Known(seed)
    point = Point(
        "ead",
        (("up", up), ("down", up * share), ("window", window), ("dwell", dwell), ("reset", reset)),
    )
    steps = known.steps(point)
    written = [token for step in steps for token in step.tokens]
    same = common([token.id for token in written], known.answer)
    candidate = Contender(point)
    candidate.simulate(known.simulator)
    assert candidate.kept == same and candidate.tokens == len(known.answer)
    run = known.simulator.run(point, 0, on_path=True)
    large = [token.source == "large" for token in written]
    assert run.large_tokens == sum(large[: len(run.tokens)])
    if same == len(known.answer):
        assert run.ms - run.own_ms == pytest.approx(known.ms(steps))
        forwards = [f.model for s in steps for f in s.forwards if f.purpose != "prompt"]
        assert run.large_forwards == forwards.count("large")


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    "point",
    [
        *(
            Point("cascade", (("drafts", drafts), ("alpha", alpha), ("rule", rule)))
            for drafts in (1, 5)
            for rule, alpha in (("optimal", 0.1), ("optimal", 0.6), ("difference", 0.3))
        ),
        *(
            Point("bild", (("fallback", fallback), ("rollback", rollback), ("longest", 4)))
            for fallback in (0.0, 0.5, 0.8)
            for rollback in (0.3, 1.5, 60.0)
        ),
    ],
    ids=lambda point: point.label,
)
def test_chains_are_simulated_up_to_where_they_leave_the_path(seed: int, point: Point) -> None:
    """What drafts look like behind a wrong one is not on record, and changes no token before it."""
    known = Known(seed)
    same = common(known.runner.run(point, known.prompt).tokens, known.answer)
    simulated = known.simulator.run(point, 0, on_path=True)
    assert common(simulated.tokens, known.answer) == same
    assert len(simulated.tokens) == min(same + 1, len(known.answer))


@pytest.mark.parametrize("gate", [0.0, 0.4, 99.0])
def test_fly_leaves_the_path_only_where_its_gate_is_open(gate: float) -> None:
    point = Point("fly", (("window", 2), ("gate", gate), ("drafts", 6)))
    left = 0
    for seed in range(20):
        known = Known(seed, likeness=0.6)
        run = known.simulator.run(point, 0, on_path=True)
        same = common(run.tokens, known.answer)
        if same < len(known.answer):
            left += 1
            assert known.record.large_entropy[same] >= gate and not known.record.agrees[same]
    assert (left == 0) == (gate == 99.0)


@pytest.mark.parametrize("point", EXACT, ids=lambda point: point.label)
def test_what_is_exact_writes_the_answer_again(point: Point) -> None:
    for seed in range(6):
        known = Known(seed)
        for on_path in (False, True):
            assert known.simulator.run(point, 0, on_path=on_path).tokens == known.answer


@pytest.mark.parametrize("point", EXACT[4:], ids=lambda point: point.label)
def test_where_drafts_are_right_the_rounds_are_those_of_a_run(point: Point) -> None:
    """For methods that do not decide by time: nothing off the path matters."""
    settled = 0
    for seed in range(12):
        known = Known(seed, likeness=0.97)
        if known.record.agrees.all() and len(known.record) > 2:
            settled += 1
            real = known.runner.run(point, known.prompt)
            simulated = known.simulator.run(point, 0)
            assert simulated.large_forwards == real.large_forwards
            assert simulated.large_fed == real.large_fed
    assert settled > 1


def test_forwards_take_what_the_tables_say() -> None:
    """Plain decoding: a forward of one token for each token after the first, 11 ms each."""
    known = Known(3)
    run = known.simulator.run(Point("plain"), 0)
    assert run.ms - run.own_ms == pytest.approx(11.0 * (len(known.answer) - 1))


def test_a_forecast_on_the_tables_own_clock_is_what_a_run_takes() -> None:
    """Runs whose forwards took what the tables say: off by adec's own time at most."""
    known = Known(2, likeness=0.97)
    measured = [Measured(point, True) for point in EXACT]
    for point in measured:
        point.runs = [known.simulator.run(point.point, 0)]
    forecast(measured, known.simulator)
    for point in measured[4:]:
        own = sum(r.own_ms for r in point.runs) / sum(r.decoded for r in point.runs)
        assert point.forecast_ms == pytest.approx(point.ms_per_token, abs=own)


def test_recorded_scores_say_what_the_rows_said() -> None:
    """With as many tokens on record as the vocabulary has, all of a row comes back."""
    known = Known(4)
    ids, answer = known.runner.encode(known.prompt), known.answer
    columns = Columns(known.record, "large", 6)
    for engine in known.pair.values():
        engine.rewind(0)
    rows = known.pair["large"].forward([*ids, *answer[:-1]], rows=len(answer))
    other = known.pair["small"].forward([*ids, *answer[:-1]], rows=len(answer))
    scores = RecordedScores(columns, range(len(answer)))
    assert len(scores) == len(answer)
    for i in range(len(answer)):
        assert scores.argmax(i) == rows.argmax(i)
        assert [t for t, _ in scores.top(i, 3)] == [t for t, _ in rows.top(i, 3)]
        assert scores.entropy(i) == pytest.approx(rows.entropy(i), abs=1e-5)
        assert scores.margin(i) == pytest.approx(rows.margin(i), abs=1e-5)
        assert scores.distance(i, other, i) == pytest.approx(rows.distance(i, other, i), abs=1e-5)
        rebuilt = ArrayScores(np.stack([scores.row(i)]))
        for token in range(6):
            assert scores.probability(i, token) == pytest.approx(
                rows.probability(i, token), abs=1e-5
            )
            assert rebuilt.probability(0, token) == pytest.approx(
                scores.probability(i, token), abs=1e-5
            )


def test_what_is_not_listed_shares_what_the_list_leaves() -> None:
    known = Known(1)
    columns = Columns(known.record, "small", 1000)
    scores = RecordedScores(columns, [0])
    unlisted = scores.probability(0, 999)
    listed = sum(chance for _, chance in scores.top(0, 8))
    assert listed + (1000 - len(scores.top(0, 8))) * unlisted == pytest.approx(1)
    row = scores.row(0)
    assert row.shape == (1000,) and row.argmax() == scores.argmax(0)
