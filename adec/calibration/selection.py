"""Which points of a family are run next, and which are brought to the proof."""

from __future__ import annotations

import math

from adec.calibration.fit import front
from adec.calibration.result import Measured
from adec.calibration.trial import Point

CANDIDATES = 4
"""Points of a family that are run for real, and half of them, rounded up, are tested."""
KNOBS = {"ead": ("up", "down"), "cascade": ("alpha",)}
"""The settings of a family that trade quality for time, all moved together."""


def between(good: Point, bad: Point) -> Point | None:
    """The point halfway (geometrically) between two that differ in their knobs only; None for others, or where nothing lies between."""
    first, second = good.table(), bad.table()
    knobs = KNOBS[good.strategy]
    alike = {name for name in first if first[name] == second.get(name)}
    if good.strategy != bad.strategy or not set(first) - alike or set(first) - alike - set(knobs):
        return None
    middle = {name: round(math.sqrt(first[name] * second[name]), 4) for name in knobs}
    if all(middle[name] in (first[name], second[name]) for name in knobs):
        return None
    return Point(good.strategy, tuple((name, middle.get(name, first[name])) for name in first))


def halfway(points: list[Measured], level: float) -> Point | None:
    """The point between the fastest that kept the budget and the slowest, faster one that did not, where both differ in the knob only."""
    good = [m for m in front(points) if 1 - m.quality <= level]
    if not good:
        return None
    best = min(good, key=lambda m: m.ms_per_token)
    worse = [m for m in points if m.ms_per_token < best.ms_per_token and 1 - m.quality > level]
    for other in sorted(worse, key=lambda m: -m.ms_per_token):
        point = between(best.point, other.point)
        if point is not None and all(m.point != point for m in points):
            return point
    return None


def to_test(points: list[Measured], level: float) -> list[Measured]:
    """What a family brings to the proof, the safest first: its front, as far as it kept the budget where it was fitted."""
    good = [m for m in front(points) if 1 - m.quality <= level]
    good = good[: (CANDIDATES + 1) // 2]
    if not good and points:
        good = [max(points, key=lambda m: (m.quality, -m.ms_per_token))]
    return sorted(good, key=lambda m: -m.quality)
