"""The proof's prompts: how many are asked, fixed beforehand from the time that is left, and what the chosen points lose on them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from adec.calibration.measurements import Measurements
from adec.calibration.prompts import Prompt
from adec.calibration.proof import Tested, prove
from adec.calibration.result import Measured
from adec.calibration.selection import needed
from adec.calibration.trial import Metric, Point, Run, point_from

LEAST = 4
SPARE = 1.5
"""Prompts that are asked, as a multiple of those that should do: chance may be against us."""
WANTED = 150
"""Prompts that are asked at least where the time allows it."""
CLOCKED = 12
"""Held-out prompts on which the fastest exact point is timed as well."""
OVERTIME = 1.2
"""The proof's time, as a multiple of what was planned, after which it stops: the machine became slower."""


@dataclass(frozen=True)
class Proof:
    """What the held-out prompts said."""

    tests: dict[str, list[Tested[Measured]]]
    prompts: int
    """Prompts that the proof rests on."""
    asked: int
    """Prompts that were asked, those included of which the metric says nothing."""


def prompts_to_ask(
    points: Sequence[tuple[Measured, float]],
    level: float,
    confidence: float,
    *,
    held_out: int,
    affordable: int,
    useful: float,
) -> int:
    """Held-out prompts that the proof asks: no more than there are or than the time allows, nor many more than should do.

    `points` come with the loss that is expected of them. `useful`: share of the prompts that count, since a metric may say nothing of some. Nothing here depends on a held-out answer.
    """
    numbers = [needed(m, loss, level, confidence) for m, loss in points]
    wanted = max((n for n in numbers if n is not None), default=0)
    enough = math.ceil(SPARE * max(WANTED, wanted) / max(0.05, useful))
    if not wanted:
        enough = held_out
    return max(min(LEAST, held_out), min(held_out, affordable, enough))


def plan_from(data: Any) -> tuple[int, list[Point]]:
    """How many prompts, and the points, from the journal. Raises ValueError, TypeError or UsageError when it is no plan."""
    count, points = data
    return int(count), [point_from(point) for point in points]


def run_proof(
    measurements: Measurements,
    families: Mapping[str, Sequence[Measured]],
    clocked: Measured,
    prompts: Sequence[Prompt],
    *,
    metric: Metric,
    level: float,
    confidence: float,
    overtime: Callable[[], bool],
    tick: Callable[[float], None],
) -> Proof:
    """Ask the prompts and test the points. `clocked` is timed on some of them, for the speed that is expected of it."""
    points = list(chain.from_iterable(families.values()))
    losses: dict[Point, list[float]] = {m.point: [] for m in points}
    counted = asked = 0
    for index, prompt in enumerate(prompts):
        tick(index / len(prompts))
        if index >= LEAST and overtime():
            break
        asked += 1
        own = measurements.answer(f"held out {index}", prompt)
        if index < CLOCKED:
            clocked.fresh.append(
                measurements.trial(clocked.point, index, prompt, stage="held out")
                if clocked.point.strategy != "plain"
                else Run(own.tokens, own.text, own.ms, 0.0, len(own.tokens), len(own.tokens), 0)
            )
        if metric == "answer" and not own.right:
            continue
        counted += 1
        for point in points:
            run = measurements.trial(point.point, index, prompt, stage="held out")
            point.fresh.append(run)
            loss = measurements.loss(own, run, prompt)
            if loss is not None:
                losses[point.point].append(loss)
    ordered = {name: [(m, losses[m.point]) for m in family] for name, family in families.items()}
    return Proof(prove(ordered, level, confidence), counted, asked)
