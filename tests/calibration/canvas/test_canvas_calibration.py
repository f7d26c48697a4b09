"""Calibrations of diffusion models on tables: trajectories, rules replayed on them, whole runs."""

from __future__ import annotations

import json
import math
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adec.calibration.canvas.canvas_grids import CANVAS_GRIDS
from adec.calibration.canvas.canvas_replay import CanvasReplay
from adec.calibration.canvas.canvas_stages import CanvasCalibration
from adec.calibration.canvas.trajectory import (
    MaskRow,
    NotingCanvas,
    Trajectory,
    record_trajectory,
)
from adec.calibration.costs.cost_tables import Cell, CostTable
from adec.calibration.journal import Journal
from adec.calibration.result import Result
from adec.calibration.trials.trial import Point, Runner
from adec.calibration.wishes import Wishes
from adec.decoding.pair.clock.cost_curve import Curves
from adec.decoding.registry import METHODS
from adec.decoding.strategy import Aids, Limits
from adec.engines.pair import Engines
from adec.engines.table_canvas import TableCanvas
from adec.events.records import CanvasRecord
from adec.signals import ArrayScores
from tests.calibration.tables import MACHINE, Unseen, plan_of, prompts
from tests.decoding.diffusion.tables import END, SIZE, canvas_strategy, law, steps_of

LENGTH = 12
FLAT = CostTable({0: {n: Cell(10.0, 0.1, 9) for n in (16, 64)}})
"""A forward of any canvas takes 10 ms."""


def engine(seed: int, sway: float = 0.3) -> TableCanvas:
    known = lru_cache(None)(law(seed, sway=sway, sharp=8.0))
    table = TableCanvas(known, size=SIZE, context=256)
    # a canvas that is cut to the context, so that few laws are asked for
    table.context = 2 + LENGTH
    return table


def recorded(table: TableCanvas, prompt: list[int], count: int = LENGTH) -> Trajectory:
    engines = Engines(large=table)
    noting = NotingCanvas(engines, len(prompt))
    method = METHODS["steps"]
    reference = method.build(Engines(large=noting), method.settings(), Aids())
    return record_trajectory(reference, noting, prompt, Limits(count, frozenset({END})))


def replay(table: TableCanvas, prompt: list[int], trajectory: Trajectory) -> CanvasReplay:
    def no_part(kind: str) -> Any:
        raise AssertionError

    return CanvasReplay(
        Engines(large=table),
        {"large": FLAT},
        Curves(FLAT.curve(0), None),
        [prompt],
        [trajectory],
        max_tokens=LENGTH,
        part=no_part,
    )


@settings(max_examples=50)
@given(
    weights=st.lists(st.floats(0.0, 12.0), min_size=12, max_size=40),
    count=st.integers(2, 8),
)
def test_a_row_comes_back_with_its_likeliest_tokens_and_its_entropy(
    weights: list[float], count: int
) -> None:
    scores = ArrayScores(np.array([weights], dtype=np.float32))
    listed = scores.top(0, count)
    row = MaskRow(
        0, scores.entropy(0), tuple(t for t, _ in listed), tuple(chance for _, chance in listed)
    )
    again = ArrayScores(row.logits(len(weights))[None])
    for token, chance in listed:
        assert again.probability(0, token) == pytest.approx(chance, abs=1e-4)
    # a tail is a whole number of tokens, each at most as likely as the last one listed
    rest = 1 - sum(chance for _, chance in listed)
    assert again.entropy(0) == pytest.approx(scores.entropy(0), abs=max(1e-3, rest))


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), sway=st.sampled_from([0.0, 0.3, 1.0]))
def test_a_trajectory_is_the_reference_s_answer_and_says_what_it_saw(
    seed: int, sway: float
) -> None:
    table = engine(seed, sway)
    trajectory = recorded(table, [0, 1])
    steps = steps_of(canvas_strategy("steps", table), [0, 1], Limits(LENGTH, frozenset({END})))
    assert list(trajectory.tokens) == [token.id for step in steps for token in step.tokens]
    assert len(trajectory.rows) == len(steps)
    for step, rows, (place, token) in zip(steps, trajectory.rows, trajectory.fills, strict=True):
        assert isinstance(step.detail, CanvasRecord)
        (made,) = step.detail.filled
        assert (made.position, made.id) == (place, token)
        row = next(row for row in rows if row.place == place)
        assert row.ids[0] == token and row.nats == pytest.approx(made.entropy, abs=1e-5)
    again = msgspec.json.decode(msgspec.json.encode(trajectory), type=Trajectory)
    assert again == trajectory


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), sway=st.sampled_from([0.0, 0.3, 1.0]))
def test_what_is_exact_replays_to_the_recorded_answer(seed: int, sway: float) -> None:
    table = engine(seed, sway)
    trajectory = recorded(table, [0, 1])
    again = replay(table, [0, 1], trajectory)
    for point in (Point("steps"), Point("freedave", (("width", "fixed"),)), Point("freedave")):
        run = again.run(point, 0)
        assert run.tokens == trajectory.tokens
        assert again.run(point, 0, on_path=True).tokens == trajectory.tokens
    plain = again.run(Point("steps"), 0)
    assert plain.large_forwards == len(trajectory.rows)
    assert plain.ms - plain.own_ms == pytest.approx(10.0 * len(trajectory.rows))


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6))
def test_where_nothing_sways_a_replay_is_the_real_run(seed: int) -> None:
    """Rows then do not depend on what else stands, so the records know all of them."""
    table = engine(seed, sway=0.0)
    trajectory = recorded(table, [0, 1])
    again = replay(table, [0, 1], trajectory)
    limits = Limits(LENGTH, frozenset({END}))
    for name, values in (
        ("threshold", {"probability": 0.7}),
        ("threshold", {"factor": 1.0}),
        ("frontier", {"reach": 3, "run": 0.3, "probability": 0.7}),
        ("entropy", {"bound": 0.5}),
        ("localleap", {"near": 0.5}),
        ("ccd", {}),
        ("prophet", {"early": 1.0, "middle": 0.7, "late": 0.5}),
    ):
        real = steps_of(canvas_strategy(name, table, **values), [0, 1], limits)
        run = again.run(Point(name, tuple(values.items())), 0)
        assert run.tokens == tuple(token.id for step in real for token in step.tokens), name
        assert run.large_forwards == len(real), name


def test_a_run_ends_where_it_fills_what_the_reference_did_not_write() -> None:
    """Quotas of eight fill tokens that the reference, one by one, would have written otherwise."""
    left = 0
    for seed in range(12):
        table = engine(seed, sway=1.0)
        trajectory = recorded(table, [0])
        run = replay(table, [0], trajectory).run(Point("steps", (("tokens", 8),)), 0, on_path=True)
        whole = run.tokens == trajectory.tokens
        right = run.tokens if whole else run.tokens[:-1]
        assert right == trajectory.tokens[: len(right)]
        assert whole or run.tokens[-1] == -1
        left += not whole
    assert left > 5


@pytest.mark.parametrize("damage", ["ids", "rows", "fills"])
def test_a_damaged_trajectory_is_refused(damage: str) -> None:
    good = json.loads(msgspec.json.encode(recorded(engine(1), [0])))
    if damage == "ids":
        good["rows"][0][0][2] = []
    elif damage == "rows":
        good["rows"][0] = []
    else:
        good["fills"] = good["fills"][1:]
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(good, Trajectory)


def calibrated(folder: Path, wishes: Wishes, seed: int = 3) -> Result:
    engines = Engines(large=engine(seed))
    runner = Runner(plan_of(engines), engines, max_tokens=wishes.max_tokens)
    journal = Journal(folder / "journal.jsonl", "key")
    asked = prompts(1, 40, fit=12, length=2)
    return CanvasCalibration(runner, asked, wishes, MACHINE, journal, Unseen(lambda: False)).run()


@pytest.mark.parametrize("context", [2 + LENGTH, 130, 256])
def test_canvases_that_the_context_cuts_short_are_told_once(tmp_path: Path, context: int) -> None:
    table = engine(3)
    table.context = context
    engines = Engines(large=table)
    runner = Runner(plan_of(engines), engines, max_tokens=LENGTH)
    asked, told = prompts(1, 40, fit=12, length=3), list[str]()
    CanvasCalibration(
        runner, asked, Wishes(max_tokens=LENGTH), MACHINE, Journal(tmp_path / "j", "key"),
        Unseen(lambda: False), say=told.append,
    )  # fmt: skip
    if context == 256:
        assert not told
        return
    (line,) = told
    assert f"{context - 3} at least" in line and "behind 40 of 40 prompts" in line
    assert line.endswith("a larger --ctx holds more")


def test_a_calibration_of_a_diffusion_model_finds_all_its_parts(tmp_path: Path) -> None:
    wishes = Wishes(keep=0.5, seconds=1e6, max_tokens=LENGTH)
    result = calibrated(tmp_path, wishes)
    names = {measured.point.strategy for measured in result.measured}
    # a table has no learned filter
    assert names >= {"steps", "freedave", "threshold", "entropy"}
    assert set(result.tried) == {"freedave", *CANVAS_GRIDS} - {"learn2pd"}
    assert result.plain.point == Point("steps")
    for measured in result.measured:
        assert (measured.forecast_ms or 0) > 0
        if measured.exact:
            assert measured.unlike == 0 and measured.quality == 1
    assert any("cache" in m.point.table() for m in result.measured)
    assert result.tests and result.held_out == 28
    assert set(result.tables) == {"large"} and result.agreement.context == 0
    assert all(math.isfinite(nats) for nats in result.agreement.large_entropy.values())
    again = calibrated(tmp_path, wishes)
    assert [m.point for m in again.measured] == [m.point for m in result.measured]


def test_kept_exact_it_tries_exact_methods_alone(tmp_path: Path) -> None:
    result = calibrated(tmp_path, Wishes(keep=1, seconds=1e6, max_tokens=LENGTH))
    assert all(m.exact for m in result.measured) and result.tests == {}
