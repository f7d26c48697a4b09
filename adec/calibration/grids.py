"""What a calibration tries: grids of settings for approximate methods, variants of exact ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from adec.calibration.agreement import TRIGGER_RATES
from adec.calibration.recording import Column, Record
from adec.calibration.trial import Point

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
}
"""Variants of exact methods, the default first; of each method the best one by simulation is run."""
EXACT_SINGLE: Mapping[str, Sequence[Point]] = {
    name: (Point(name),) for name in ("speculate", "lookup", "recycling")
}
KNOBS = {
    "ead": ("up", "down"),
    "cascade": ("alpha",),
    "bild": ("rollback",),
    "fly": ("gate",),
}
"""The settings of a family that trade quality for time, all moved together."""
FAMILIES = tuple(KNOBS)
WINDOWS = (1, 3, 5)
DWELLS = (0, 3, 10)
PAPER = (("window", 5), ("dwell", 10))
"""EAD's constants as published (arXiv 2502.06833)."""
ALPHAS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7)
LENGTHS = (2, 3, 5)
LONGEST = (4, 8, 16)
"""Drafts at most, of methods that mostly stop by themselves."""
FALLBACKS = (0.3, 0.5, 0.7, 0.9)
ROLLBACKS = (0.5, 1.0, 2.0, 3.0)
FLY_DRAFTS = (8, 15)
FLY_WINDOWS = (3, 6)


def ead_grid(records: Sequence[Record]) -> list[Point]:
    """EAD over thresholds by trigger rate, windows, dwells, with and without hysteresis."""
    return [
        Point("ead", (("up", up), ("down", down), ("window", window), ("dwell", dwell)))
        for up in _thresholds(records)
        for window in WINDOWS
        for dwell in DWELLS
        for down in (up, round(up / 2, 4))
    ]


def ead_exact_grid(records: Sequence[Record]) -> list[Point]:
    """EAD whose drafts are judged, each token by its own entropy, over thresholds and lengths."""
    return [
        Point(
            "ead",
            (("up", up), ("window", 1), ("dwell", 0), ("accept", "exact"), ("longest", longest)),
        )
        for up in _thresholds(records)
        for longest in LONGEST
    ]


def cascade_grid(records: Sequence[Record]) -> list[Point]:
    """Speculative cascades over their knob and the draft length, by the paper's optimal rule."""
    return [
        Point("cascade", (("alpha", alpha), ("drafts", drafts), ("rule", "optimal")))
        for alpha in ALPHAS
        for drafts in LENGTHS
    ]


def bild_grid(records: Sequence[Record]) -> list[Point]:
    """BiLD over both its thresholds and the draft length."""
    return [
        Point("bild", (("fallback", fallback), ("rollback", rollback), ("longest", longest)))
        for fallback in FALLBACKS
        for rollback in ROLLBACKS
        for longest in LONGEST
    ]


def fly_grid(records: Sequence[Record]) -> list[Point]:
    """FLy over its gate, by how often the large model is that unsure, its window and the draft length."""
    entropies = np.concatenate([record.large_entropy for record in records])
    return [
        Point("fly", (("gate", gate), ("window", window), ("drafts", drafts)))
        for gate in _quantiles(entropies)
        for window in FLY_WINDOWS
        for drafts in FLY_DRAFTS
    ]


def _thresholds(records: Sequence[Record]) -> list[float]:
    """The small model's entropies that are passed at the trigger rates, nats."""
    return _quantiles(np.concatenate([record.small_entropy for record in records]))


def _quantiles(column: Column) -> list[float]:
    return sorted({round(float(np.quantile(column, 1 - rate)), 4) for rate in TRIGGER_RATES})


GRIDS: Mapping[str, Callable[[Sequence[Record]], list[Point]]] = {
    "ead": ead_grid,
    "cascade": cascade_grid,
    "bild": bild_grid,
    "fly": fly_grid,
}
"""Approximate methods with fitted thresholds."""
