"""The proof's stage: which points are brought to it, on how many held-out prompts, and what they
lose there.

All of that is fixed beforehand, from what was measured on prompts to fit on and from the time that
is left: nothing held out may decide what is tested or when to stop.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from adec.calibration.journal import Measurements
from adec.calibration.prompts import KnownPrompt
from adec.calibration.replay.grids import FAMILIES, rule
from adec.calibration.trials.measured import Measured
from adec.calibration.trials.proof import Tested, is_binary, prompts_needed, prove
from adec.calibration.trials.trial import Metric, Point, Trial

TESTED = 3
"""Most points of a family that are brought to the proof."""
PROVED_FAMILIES = 2
"""Most families that are: they share the error, and the prompts' time."""
DOUBT = 0.5
"""Failures added to those of a family: none among forty is no proof that there are none."""
BORROWED = 60
"""Prompts that the guess from the other points of a family is worth."""
SURER = 1.3
"""Prompts that must be there for a point to be called provable, as a multiple of the expected
need."""
LEAST = 4
"""Prompts that the proof asks whatever the time."""
SPARE = 1.5
"""Prompts that are asked, as a multiple of those that should do: chance may be against us."""
WANTED = 150
"""Prompts that are asked at least where the time allows it."""
CLOCKED = 12
"""Held-out prompts on which the fastest exact point is timed as well."""

Expected = tuple[Measured, float]
"""A point and the mean loss that is expected of it on fresh prompts."""


@dataclass(frozen=True)
class ProofPlan:
    """What the proof will do."""

    prompts: int
    families: Mapping[str, Sequence[Measured]]
    """The points of each family in the order in which they are tested, the safest first."""

    @property
    def points(self) -> list[Measured]:
        return list(chain.from_iterable(self.families.values()))

    @property
    def data(self) -> tuple[int, list[Point]]:
        """For the journal."""
        return self.prompts, [m.point for m in self.points]


@dataclass(frozen=True)
class Proof:
    """The tests, and the prompts that they rest on."""

    tests: dict[str, list[Tested[Measured]]]
    prompts: int
    """Prompts that the proof rests on."""
    asked: int
    """The same with those of which the metric says nothing."""


def plan_proof(
    measured: Sequence[Measured],
    level: float,
    confidence: float,
    *,
    held_out: int,
    useful: float,
    seconds: float,
    run_seconds: float,
) -> ProofPlan:
    """The proof that fits into `seconds`, where one run takes `run_seconds`.

    `useful`: see `prompts_to_ask`.
    """
    most = int(useful * seconds / max(1e-6, (1 + TESTED) * run_seconds))
    expected = families_to_test(measured, level, confidence, min(most, int(useful * held_out)))
    points = list(chain.from_iterable(expected.values()))
    count = prompts_to_ask(
        points,
        level,
        1 - (1 - confidence) / PROVED_FAMILIES,
        held_out=held_out,
        affordable=int(seconds / max(1e-6, (1 + useful * len(points)) * run_seconds)),
        useful=useful,
    )
    return ProofPlan(count, {name: [m for m, _ in family] for name, family in expected.items()})


def planned_before(
    kept: tuple[int, Sequence[Point]], measured: Sequence[Measured]
) -> ProofPlan | None:
    """The plan of an interrupted calibration; None where its points were not measured."""
    count, wanted = kept
    points = [m for point in wanted for m in measured if m.point == point and not m.exact]
    families: dict[str, list[Measured]] = {}
    for m in points:
        families.setdefault(m.point.strategy, []).append(m)
    return ProofPlan(count, families) if len(points) == len(wanted) else None


def families_to_test(
    measured: Sequence[Measured], level: float, confidence: float, prompts: int
) -> dict[str, list[Expected]]:
    """The points to prove, by family.

    These are families that are faster than what is exact, or else the fastest family alone.
    """
    exact = min(m.ms_per_token for m in measured if m.exact)
    each = 1 - (1 - confidence) / PROVED_FAMILIES
    found: list[tuple[bool, float, str, list[Expected]]] = []
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


def to_test(
    points: Sequence[Measured], level: float, confidence: float, prompts: int, limit_ms: float
) -> list[Expected]:
    """What a family brings to the proof, the safest first.

    That is the fastest point that `prompts` prompts should prove, the safest one that takes no more
    than `limit_ms` a token, and one that is bolder than the first.
    """
    known = sorted(
        zip(points, expected_losses(points), strict=True), key=lambda p: p[0].ms_per_token
    )
    quick = [p for p in known if p[0].ms_per_token < limit_ms] or known
    if not quick:
        return []
    numbers = [_needed(m, loss, level, confidence) for m, loss in quick]
    likely = [i for i, n in enumerate(numbers) if n is not None and SURER * n <= prompts]
    safest = min(range(len(quick)), key=lambda i: (quick[i][1], i))
    place = likely[0] if likely else safest
    chosen = {place, safest}
    bolder = [i for i in range(place) if quick[i][1] <= level]
    if likely and bolder:
        chosen.add(bolder[-1])
    return sorted((quick[i] for i in chosen), key=lambda p: (p[1], -p[0].ms_per_token))


def expected_losses(family: Sequence[Measured]) -> list[float]:
    """The mean loss to be expected of each point of a family on fresh prompts.

    A few dozen prompts tell one percent from three by luck only, so the points of a family that
    follow one rule borrow from each other: losses go with the share of answers whose path a point
    leaves in simulation, and that guess weighs as much as `BORROWED` prompts.
    """
    found: list[float] = []
    for m in family:
        alike = [other for other in family if rule(other.point) == rule(m.point)]
        lost = sum(sum(other.losses) for other in alike) + DOUBT
        left = sum(other.left * len(other.losses) for other in alike) + DOUBT
        guess = min(1.0, lost / left) * m.left
        found.append((sum(m.losses) + BORROWED * guess) / (len(m.losses) + BORROWED))
    return found


def prompts_to_ask(
    points: Sequence[Expected],
    level: float,
    confidence: float,
    *,
    held_out: int,
    affordable: int,
    useful: float,
) -> int:
    """Held-out prompts that the proof asks: some more than should do, where time allows.

    `useful`: share of the prompts that count, since a metric may say nothing of some.
    """
    numbers = [_needed(m, loss, level, confidence) for m, loss in points]
    wanted = max((n for n in numbers if n is not None), default=0)
    enough = math.ceil(SPARE * max(WANTED, wanted) / max(0.05, useful)) if wanted else held_out
    return max(min(LEAST, held_out), min(held_out, affordable, enough))


def run_proof(
    measurements: Measurements,
    plan: ProofPlan,
    clocked: Measured,
    prompts: Sequence[KnownPrompt],
    *,
    metric: Metric,
    level: float,
    confidence: float,
    overtime: Callable[[], bool],
    tick: Callable[[float], None],
) -> Proof:
    """Ask the prompts and test the points.

    `clocked` is timed on some of them, for the speed that is to be expected of it.
    """
    losses: dict[Point, list[float]] = {m.point: [] for m in plan.points}
    counted = asked = 0
    for index, prompt in enumerate(prompts[: plan.prompts]):
        tick(index / plan.prompts)
        known = measurements.knows(index, [m.point for m in plan.points], metric)
        # what workers answered ahead costs no time; the prompts that count are always the first
        if index >= LEAST and not known and overtime():
            break
        asked += 1
        own = measurements.answer(f"held out {index}", prompt)
        if index < CLOCKED and not own.worker:
            clocked.fresh.append(
                Trial(own.tokens, own.text, own.ms, 0.0, len(own.tokens), len(own.tokens), 0)
                if clocked.point.is_yardstick
                else measurements.trial(clocked.point, index, prompt, stage="held out")
            )
        if metric == "answer" and not own.right:
            continue
        counted += 1
        for point in plan.points:
            run = measurements.trial(point.point, index, prompt, stage="held out")
            if not run.worker:
                point.fresh.append(run)
            loss = measurements.held_out_loss(own, run, prompt, index, point.point)
            if loss is not None:
                losses[point.point].append(loss)
    ordered = {
        name: [(m, losses[m.point]) for m in family] for name, family in plan.families.items()
    }
    return Proof(prove(ordered, level, confidence), counted, asked)


def _needed(point: Measured, loss: float, level: float, confidence: float) -> int | None:
    """Held-out prompts that prove a point with that mean loss; None where no number would."""
    return prompts_needed(loss, level, confidence, binary=is_binary(point.losses))
