"""The proof's prompts: how many are asked, fixed beforehand from the time that is left, and what the chosen points lose on them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from adec.calibration.grids import FAMILIES
from adec.calibration.journal import Measurements
from adec.calibration.prompts import Prompt
from adec.calibration.proof import Tested, is_binary, prompts_needed, prove
from adec.calibration.trial import Measured, Metric, Point, Run, point_from

TESTED = 3
"""Points of a family that are brought to the proof, at most."""
PROVED_FAMILIES = 2
"""Families that are brought to it: they share the error, and the prompts' time."""
DOUBT = 0.5
"""Failures added to those of a family: none among forty is no proof that there are none."""
BORROWED = 60
"""Prompts that the guess from the other points of a family is worth."""
SURER = 1.3
"""Prompts that there must be for a point that shall be proved, as a multiple of those that would do in the mean."""
LEAST = 4
SPARE = 1.5
"""Prompts that are asked, as a multiple of those that should do: chance may be against us."""
WANTED = 150
"""Prompts that are asked at least where the time allows it."""
CLOCKED = 12
"""Held-out prompts on which the fastest exact point is timed as well."""
OVERTIME = 1.2
"""The proof's time, as a multiple of what was planned, after which it stops: the machine became slower."""


def expected_losses(family: Sequence[Measured]) -> list[float]:
    """The mean loss to be expected of each point of a family on fresh prompts.

    A few dozen prompts tell one percent from three by luck only. So the points of a family borrow from each other: losses go with the share
    of answers whose path a point leaves by replay, and that guess weighs as much as `BORROWED` prompts.
    """
    lost = sum(sum(m.losses) for m in family) + DOUBT
    left = sum(m.left * len(m.losses) for m in family) + DOUBT
    ratio = min(1.0, lost / left)
    return [
        (sum(m.losses) + BORROWED * ratio * m.left) / max(1e-9, len(m.losses) + BORROWED)
        for m in family
    ]


def needed(point: Measured, loss: float, level: float, confidence: float) -> int | None:
    """Held-out prompts that would prove the point if it loses that much on them; None where no number would."""
    return prompts_needed(loss, level, confidence, binary=is_binary(point.losses))


def to_test(
    points: Sequence[Measured], level: float, confidence: float, prompts: int, limit_ms: float
) -> list[tuple[Measured, float]]:
    """What a family brings to the proof, with the loss that is expected, the safest first.

    The fastest point that `prompts` prompts should prove, the safest one that takes no more than `limit_ms` a token, and one
    that is bolder than the first.
    """
    known = sorted(
        zip(points, expected_losses(points), strict=True), key=lambda p: p[0].ms_per_token
    )
    quick = [p for p in known if p[0].ms_per_token < limit_ms] or known
    if not quick:
        return []
    numbers = [needed(m, loss, level, confidence) for m, loss in quick]
    likely = [i for i, n in enumerate(numbers) if n is not None and SURER * n <= prompts]
    safest = min(range(len(quick)), key=lambda i: (quick[i][1], i))
    place = likely[0] if likely else safest
    chosen = {place, safest}
    bolder = [i for i in range(place) if quick[i][1] <= level]
    if likely and bolder:
        chosen.add(bolder[-1])
    return sorted((quick[i] for i in chosen), key=lambda p: (p[1], -p[0].ms_per_token))


def families_to_test(
    measured: Sequence[Measured], level: float, confidence: float, prompts: int
) -> dict[str, list[tuple[Measured, float]]]:
    """Points to prove, with expected losses, by family: of those families that are faster than what is exact, or of the fastest one where none is.

    All that decides was measured on prompts to fit on.
    """
    exact = min(m.ms_per_token for m in measured if m.exact)
    each = 1 - (1 - confidence) / PROVED_FAMILIES
    found: list[tuple[bool, float, str, list[tuple[Measured, float]]]] = []
    for family in FAMILIES:
        known = [m for m in measured if m.point.strategy == family and not m.exact]
        # those that were given up early are known too little of
        longest = max((len(m.runs) for m in known), default=0)
        going = [m for m in known if len(m.runs) == longest]
        chosen = to_test(going, level, each, prompts, exact)
        if chosen:
            within = [m for m, loss in chosen if loss <= level]
            ms = min(m.ms_per_token for m in within or [m for m, _ in chosen])
            found.append((not within, ms, family, chosen))
    found.sort(key=lambda item: item[:3])
    return {
        family: chosen
        for place, (hopeless, ms, family, chosen) in enumerate(found[:PROVED_FAMILIES])
        if place == 0 or (ms < exact and not hopeless)
    }


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
