"""Which points of a family are run next, and which are brought to the proof."""

from __future__ import annotations

import math
from collections.abc import Sequence

from adec.calibration.bounds import is_binary, prompts_needed
from adec.calibration.fit import front
from adec.calibration.result import Measured
from adec.calibration.trial import Point

KNOBS = {
    "ead": ("up", "down"),
    "cascade": ("alpha",),
    "bild": ("rollback",),
    "fly": ("gate",),
}
"""The settings of a family that trade quality for time, all moved together."""
FAMILIES = tuple(KNOBS)
TESTED = 3
"""Points of a family that are brought to the proof."""
PROVED_FAMILIES = 2
"""Families that are brought to it: they share the error, and the prompts' time."""
DOUBT = 0.5
"""Failures added to those seen: none among forty is no proof that there are none."""


def between(good: Point, bad: Point) -> Point | None:
    """The point halfway (geometrically) between two that differ in their knobs only; None for others, or where nothing lies between."""
    first, second = good.table(), bad.table()
    knobs = [name for name in KNOBS[good.strategy] if name in first]
    alike = {name for name in first if first[name] == second.get(name)}
    if good.strategy != bad.strategy or not set(first) - alike or set(first) - alike - set(knobs):
        return None
    middle = {name: round(math.sqrt(first[name] * second[name]), 4) for name in knobs}
    if all(middle[name] in (first[name], second[name]) for name in knobs):
        return None
    return Point(good.strategy, tuple((name, middle.get(name, first[name])) for name in first))


def halfway(points: Sequence[Measured], level: float) -> Point | None:
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


def needed(point: Measured, level: float, confidence: float) -> int | None:
    """Held-out prompts that would prove the point if they are like those it was fitted on; None where no number would."""
    count = len(point.losses)
    mean = (sum(point.losses) + DOUBT) / (count + 1)
    return prompts_needed(mean, level, confidence, binary=is_binary(point.losses))


def to_test(
    points: Sequence[Measured], level: float, confidence: float, prompts: int
) -> list[Measured]:
    """What a family brings to the proof, the safest first: the fastest point that `prompts` prompts should prove, one that is safer, one that is bolder."""
    edge = front(points)
    if not edge:
        return []
    # a front goes from the fastest to the safest
    numbers = [needed(m, level, confidence) for m in edge]
    likely = [i for i, n in enumerate(numbers) if n is not None and n <= prompts]
    place = likely[0] if likely else len(edge) - 1
    chosen = edge[place : place + 2]
    if place and 1 - edge[place - 1].quality <= level:
        chosen.insert(0, edge[place - 1])
    return sorted(chosen[:TESTED], key=lambda m: (-m.quality, -m.ms_per_token))


def families_to_test(
    measured: Sequence[Measured], level: float, confidence: float, prompts: int
) -> dict[str, list[Measured]]:
    """Points to prove by family: of those families that are faster than what is exact, or of the fastest one where none is.

    All that decides was measured on prompts to fit on.
    """
    exact = min(m.ms_per_token for m in measured if m.exact)
    each = 1 - (1 - confidence) / PROVED_FAMILIES
    found: list[tuple[float, str, list[Measured]]] = []
    for family in FAMILIES:
        known = [m for m in measured if m.point.strategy == family and not m.exact]
        # those that were given up early are known too little of
        longest = max((len(m.runs) for m in known), default=0)
        chosen = to_test([m for m in known if len(m.runs) == longest], level, each, prompts)
        if chosen:
            within = [m for m in chosen if 1 - m.quality <= level]
            pick = min(within or chosen, key=lambda m: m.ms_per_token)
            found.append((pick.ms_per_token + (0 if within else 1e9), family, chosen))
    found.sort(key=lambda item: item[:2])
    return {
        family: chosen
        for place, (ms, family, chosen) in enumerate(found[:PROVED_FAMILIES])
        if place == 0 or ms < exact
    }
