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
"""Points of a family that are brought to the proof, at most."""
PROVED_FAMILIES = 2
"""Families that are brought to it: they share the error, and the prompts' time."""
DOUBT = 0.5
"""Failures added to those of a family: none among forty is no proof that there are none."""
BORROWED = 60
"""Prompts that the guess from the other points of a family is worth."""
SURER = 1.3
"""Prompts that there must be for a point that shall be proved, as a multiple of those that would do in the mean."""


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


def safer(points: Sequence[Measured], level: float) -> Point | None:
    """The point between the fastest that kept the budget and the next safer one, where the first is expected to lose more than half the budget.

    What loses nearly all of it is hardly ever proved, and what the grid holds beyond may be too slow.
    """
    losses = dict(zip(map(id, points), expected_losses(points), strict=True))
    good = [m for m in front(points) if 1 - m.quality <= level]
    if not good:
        return None
    best = min(good, key=lambda m: m.ms_per_token)
    if losses[id(best)] <= level / 2:
        return None
    slower = [m for m in points if m.ms_per_token > best.ms_per_token and m.quality > best.quality]
    for other in sorted(slower, key=lambda m: m.ms_per_token):
        point = between(best.point, other.point)
        if point is not None and all(m.point != point for m in points):
            return point
    return None


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
