"""The chosen points side by side on the prompts to fit on.

All points run on one prompt before the next, so that a slow moment hits them alike. Those that
cannot win are given up on the way, and at the end each family gets a point or two between its best
ones.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from itertools import product

from adec.calibration.journal import Measurements
from adec.calibration.prompts import KnownPrompt
from adec.calibration.replay.answers_to_fit import LEAST_ANSWERS
from adec.calibration.replay.grids import ADAPTIVE, FAMILIES
from adec.calibration.replay.recording import Answer
from adec.calibration.trials.held_out import expected_losses
from adec.calibration.trials.measured import Measured, front
from adec.calibration.trials.trial import Point

GIVEN_UP_AT = 12
"""Prompts after which points that cannot win are run no more."""
KEPT_EXACT, KEPT_APPROXIMATE = 3, 8
HOPELESS = 0.9
"""Speed, as a share of the fastest exact point's, below which an approximate point is given up."""
SURE = 2.0
"""Standard errors by which a loss must lie above the budget for its point to be given up."""


class Tryouts:
    """The stage on prompts with the large model's answers to them; `level`: what may be lost."""

    def __init__(
        self,
        measurements: Measurements,
        prompts: Sequence[KnownPrompt],
        answers: Sequence[Answer],
        level: float,
        tick: Callable[[float], None],
    ) -> None:
        self._measurements = measurements
        self._prompts = prompts
        self._answers = answers
        self._level = level
        self._tick = tick

    def run(self, points: Sequence[Measured], over: Callable[[], bool]) -> int:
        """Run every point until `over`; the number of prompts."""
        going = list(points)
        for index in range(len(self._answers)):
            # what an earlier run measured costs nothing
            known = all(self._measurements.has(measured.point, index) for measured in going)
            if index >= LEAST_ANSWERS and not known and over():
                return index
            if index == GIVEN_UP_AT:
                going = worth_more(going, self._level)
            for place, measured in enumerate(going):
                self._tick((index + place / len(going)) / len(self._answers))
                self._once(measured, index)
        return len(self._answers)

    def refine(self, measured: Sequence[Measured], over: Callable[[], bool]) -> list[Measured]:
        """At most two more points a family: a safer and a bolder one than its best so far.

        They run later than the others, so plain decoding runs beside them again, and their times
        are set to the pace of the first runs.
        """
        plain = next(m for m in measured if m.point.is_yardstick)
        found = []
        for family, choose in product(FAMILIES, (safer, halfway)):
            known = [m for m in measured if m.point.strategy == family and not m.exact]
            point = choose(known, self._level)
            if point is None or (over() and not self._measurements.has(point, 0)):
                continue
            fresh, again = Measured(point, False), Measured(plain.point, True)
            count = max(len(m.runs) for m in known)
            for index, prompt in enumerate(self._prompts[:count]):
                self._tick(index / count)
                run = self._measurements.trial(
                    plain.point, index, prompt, stage=f"beside {point.label}"
                )
                again.runs.append(run)
                self._once(fresh, index)
            first = Measured(plain.point, True, runs=plain.runs[:count])
            pace = first.ms_per_token / max(1e-9, again.ms_per_token)
            fresh.runs = [
                dataclasses.replace(run, ms=pace * run.ms, own_ms=pace * run.own_ms)
                for run in fresh.runs
            ]
            found.append(fresh)
        return found

    def _once(self, measured: Measured, index: int) -> None:
        prompt, own = self._prompts[index], self._answers[index]
        run = self._measurements.trial(measured.point, index, prompt)
        measured.runs.append(run)
        measured.unlike += run.tokens != own.tokens
        loss = self._measurements.loss(own, run, prompt)
        if loss is not None:
            measured.losses.append(loss)


def worth_more(points: Sequence[Measured], level: float) -> list[Measured]:
    """The points that may still be chosen.

    These are plain, the adaptive one, the fastest exact ones, and the approximate ones that are
    fast and not clearly past the budget. Where no approximate one is, the one that keeps most
    stays: it is what the proof may yet be had for.
    """
    exact = sorted((m for m in points if m.exact), key=lambda m: m.ms_per_token)
    stay = [m for m in exact if m.point.is_yardstick or m.point.strategy == ADAPTIVE]
    stay += [m for m in exact[:KEPT_EXACT] if m not in stay]
    limit = exact[0].ms_per_token / HOPELESS
    others = [m for m in points if not m.exact]
    able = [
        m
        for m in others
        if m.ms_per_token <= limit and 1 - m.quality - SURE * m.quality_spread <= level
    ]
    edge = front(able)
    able.sort(key=lambda m: (m not in edge, m.ms_per_token))
    if not able and others:
        able = [max(others, key=lambda m: (m.quality, -m.ms_per_token))]
    stay += able[:KEPT_APPROXIMATE]
    return [m for m in points if m in stay]


def halfway(points: Sequence[Measured], level: float) -> Point | None:
    """The point between the fastest that kept the budget and the next bolder one that did not."""
    best = _fastest_within(points, level)
    if best is None:
        return None
    worse = [m for m in points if m.ms_per_token < best.ms_per_token and 1 - m.quality > level]
    return _next_to(best, sorted(worse, key=lambda m: -m.ms_per_token), points)


def safer(points: Sequence[Measured], level: float) -> Point | None:
    """The point between the fastest that kept the budget and the next safer one, where the first is
    expected to lose more than half the budget.

    What loses nearly all of it is hardly ever proved, and what the grid holds beyond may be too
    slow.
    """
    best = _fastest_within(points, level)
    if best is None:
        return None
    losses = dict(zip(map(id, points), expected_losses(points), strict=True))
    if losses[id(best)] <= level / 2:
        return None
    slower = [m for m in points if m.ms_per_token > best.ms_per_token and m.quality > best.quality]
    return _next_to(best, sorted(slower, key=lambda m: m.ms_per_token), points)


def between(good: Point, bad: Point) -> Point | None:
    """The geometric middle of two points that differ in their knobs only; None for others, or where
    nothing lies between."""
    first, second = good.table(), bad.table()
    knobs = [name for name in FAMILIES[good.strategy].knobs if name in first]
    differ = {name for name in first if first[name] != second.get(name)}
    if (good.strategy, first.keys()) != (bad.strategy, second.keys()):
        return None
    if not differ or differ - set(knobs):
        return None
    middle = {name: round(math.sqrt(first[name] * second[name]), 4) for name in knobs}
    if all(middle[name] in (first[name], second[name]) for name in knobs):
        return None
    return Point(good.strategy, tuple((name, middle.get(name, first[name])) for name in first))


def _fastest_within(points: Sequence[Measured], level: float) -> Measured | None:
    good = [m for m in front(points) if 1 - m.quality <= level]
    return min(good, key=lambda m: m.ms_per_token, default=None)


def _next_to(
    best: Measured, others: Sequence[Measured], points: Sequence[Measured]
) -> Point | None:
    """The first new point between `best` and one of the others."""
    for other in others:
        point = between(best.point, other.point)
        if point is not None and all(m.point != point for m in points):
            return point
    return None
