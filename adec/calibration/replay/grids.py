"""What a calibration tries: all that it knows of strategies by name.

Exact methods have a few variants each. An approximate method is a `Family`: a grid of settings, and
the knobs among them that trade quality for time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from adec.calibration.canvas.canvas_grids import CANVAS_GRIDS
from adec.calibration.replay.recording import Column, Record
from adec.calibration.trials.trial import Point
from adec.events.records import Role

ADAPTIVE = "speculate"
"""The exact method that adapts to each prompt and stops drafting where that does not pay. It is
recommended where times cannot tell, and on machines that were not measured."""
CHAINS = "smartspec"
"""The method of single chains of drafts; its own time decides what a draft may cost."""

EXACT_PAIR: Mapping[str, Sequence[Point]] = {
    "speculate": (Point("speculate"), Point("speculate", (("longest", 16),))),
    "smartspec": (Point("smartspec"), Point("smartspec", (("longest", 16),))),
    "dyspec": (
        Point("dyspec"),
        Point("dyspec", (("budget", 8),)),
        Point("dyspec", (("budget", 16),)),
        Point("dyspec", (("shape", "threshold"),)),
    ),
    "adaedl": (Point("adaedl"), Point("adaedl", (("longest", 8),))),
    **{name: (Point(name),) for name in ("lookup", "suffix")},
}
"""Variants of exact methods, the default first; the best variant by simulation is run."""
EXACT_SINGLE: Mapping[str, Sequence[Point]] = {
    name: (Point(name),) for name in ("speculate", "lookup", "suffix", "recycling")
}
"""The same for a model alone."""

TRIGGER_RATES = (0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.18, 0.25, 0.35, 0.5)
"""Shares of positions at which a threshold wakes the large model."""
SHARES = (0.8, 0.5, 0.3, 0.2, 0.1, 0.05, 0.02)
"""Shares of its best token's probability that the large model may be content with."""
INVOLVED = 1.08
"""EAD that averages or dwells is taken to be slower by this factor than its simulation says.
Between two points that are as good the choice would be chance, another one with each seed."""


CLOCK = (("wake", "clock"),)
"""EAD whose large model waits until a block of drafts is full: its length is the clock's."""


def is_timed(point: Point) -> bool:
    """Whether measured times decide what it writes."""
    return set(CLOCK) <= set(point.settings)


@dataclass(frozen=True)
class Family:
    """An approximate method."""

    grid: Callable[[Sequence[Record]], list[Point]]
    knobs: tuple[str, ...]
    """Settings that trade quality for time, all moved together."""
    published: tuple[tuple[str, object], ...] = ()
    """Constants of the paper; the best point with them is always run."""
    thresholds: Mapping[str, Role] = field(default_factory=dict)
    """Settings that are held against a model's entropy, in nats, and which model's."""


def ead_grid(records: Sequence[Record]) -> list[Point]:
    """EAD over thresholds by trigger rate, windows, dwells, with and without hysteresis.

    Then with wakes by the clock: what the small model is sure of is trusted, or a draft stands that
    the large model finds nearly as likely as its own token.
    """
    switches = [
        Point("ead", (("up", up), ("down", down), ("window", window), ("dwell", dwell)))
        for up, window, dwell in product(_thresholds(records), (1, 3, 5), (0, 3, 10))
        for down in (up, round(up / 2, 4))
    ]
    trusting = [Point("ead", (("up", up), *CLOCK)) for up in _thresholds(records)]
    tolerant = [
        Point("ead", (("share", share), ("accept", "tolerant"), *CLOCK)) for share in SHARES
    ]
    return [*switches, *trusting, *tolerant]


def ead_exact_grid(records: Sequence[Record]) -> list[Point]:
    """EAD whose drafts are judged, each token by its own entropy, or by the clock."""
    fixed = (("window", 1), ("dwell", 0), ("accept", "exact"))
    by_doubt = [
        Point("ead", (("up", up), *fixed, ("longest", longest)))
        for up, longest in product(_thresholds(records), (4, 8, 16))
    ]
    return [*by_doubt, Point("ead", (("accept", "exact"), *CLOCK))]


def cascade_grid(records: Sequence[Record]) -> list[Point]:
    """Speculative cascades by the paper's optimal rule."""
    return [
        Point("cascade", (("alpha", alpha), ("drafts", drafts), ("rule", "optimal")))
        for alpha, drafts in product((0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7), (2, 3, 5))
    ]


def bild_grid(records: Sequence[Record]) -> list[Point]:
    """BiLD over both its thresholds and the draft length."""
    return [
        Point("bild", (("fallback", fallback), ("rollback", rollback), ("longest", longest)))
        for fallback, rollback, longest in product(
            (0.3, 0.5, 0.7, 0.9), (0.5, 1.0, 2.0, 3.0), (4, 8, 16)
        )
    ]


def fly_grid(records: Sequence[Record]) -> list[Point]:
    """FLy over its gate, at the trigger rates of the large model, its window and draft length."""
    gates = _at_rates(np.concatenate([record.large_entropy for record in records]))
    return [
        Point("fly", (("gate", gate), ("window", window), ("drafts", drafts)))
        for gate, window, drafts in product(gates, (3, 6), (8, 15))
    ]


def _fixed(points: Sequence[Point]) -> Callable[[Sequence[Record]], list[Point]]:
    """A grid that no record decides."""
    return lambda records: list(points)


PAIR_FAMILIES: Mapping[str, Family] = {
    "ead": Family(
        ead_grid,
        ("up", "down", "share"),
        published=(("window", 5), ("dwell", 10)),
        thresholds={"up": "small", "down": "large"},
    ),
    "cascade": Family(cascade_grid, ("alpha",)),
    "bild": Family(bild_grid, ("rollback",)),
    "fly": Family(fly_grid, ("gate",)),
}
"""Of two models."""
FAMILIES: Mapping[str, Family] = {
    **PAIR_FAMILIES,
    **{
        name: Family(_fixed(points), knobs, published)
        for name, (points, knobs, published) in CANVAS_GRIDS.items()
    },
}


EXACT_GRIDS: Mapping[str, Callable[[Sequence[Record]], list[Point]]] = {"ead": ead_exact_grid}
"""Approximate methods that some settings make exact."""


def handicap(point: Point) -> float:
    """By what factor a point must be faster than a simpler one to be preferred to it."""
    values = point.table()
    simple = "dwell" not in values or (values["dwell"] == 0 and values["window"] == 1)
    return 1.0 if simple else INVOLVED


def rule(point: Point) -> tuple[tuple[str, object], ...]:
    """The settings of a point that are words: what sets its rule apart from others of its family,
    whatever its numbers are."""
    return tuple((name, value) for name, value in point.settings if isinstance(value, str))


def _thresholds(records: Sequence[Record]) -> list[float]:
    """Entropies of the small model that are exceeded at the trigger rates, in nats."""
    return _at_rates(np.concatenate([record.small_entropy for record in records]))


def _at_rates(column: Column) -> list[float]:
    return sorted({round(float(np.quantile(column, 1 - rate)), 4) for rate in TRIGGER_RATES})
