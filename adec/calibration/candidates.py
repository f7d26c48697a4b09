"""Candidates for settings: a grid a family, each point replayed on records, and those of them that are worth a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from adec.calibration.fit import TRIGGER_RATES, front
from adec.calibration.replay import Replay, replay_ead, replay_ead_exact
from adec.calibration.replay_chains import cascade_defers, replay_bild, replay_chain, replay_fly
from adec.calibration.signals import Column, Record
from adec.calibration.trial import Point
from adec.decoding import settings as setting_values
from adec.decoding.pair.bild import BildSettings
from adec.decoding.pair.costs import Curves
from adec.decoding.pair.ead import EadSettings
from adec.decoding.pair.fly import FlySettings

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
TARGETS = (1, 0.5, 2, 0.2, 4)
"""Losses of agreement that points are looked for at, as multiples of what may be lost."""
INVOLVED = 1.08
"""EAD that averages or dwells must save that much time by replay to be looked at before EAD that judges each token by itself: else
the choice between two that are as good is chance, another one with each seed."""
REPLAYED = 60
"""Answers that candidates are replayed on; more would only make the grid slower."""


@dataclass(frozen=True)
class Candidate:
    """A point and what its replay says."""

    point: Point
    least: float
    """Agreement if all differs after a path was left; likewise `most` if nothing more does."""
    most: float
    ms_per_token: float
    forwards_ms: float
    """Forwards alone, for a token."""
    left: float
    """Share of the answers whose path was left."""


def replay(point: Point, records: Sequence[Record], curves: Curves) -> Replay:
    """What the records say of a point of a family below."""
    values = point.table()
    if point.strategy == "ead":
        chosen = setting_values.build(EadSettings, "ead", ("candidate", values))
        return (replay_ead_exact if chosen.accept == "exact" else replay_ead)(
            records, chosen, curves
        )
    if point.strategy == "bild":
        return replay_bild(
            records, setting_values.build(BildSettings, "bild", ("candidate", values)), curves
        )
    if point.strategy == "fly":
        return replay_fly(
            records, setting_values.build(FlySettings, "fly", ("candidate", values)), curves
        )
    defers = [cascade_defers(record, values["rule"], values["alpha"]) for record in records]
    return replay_chain(records, values["drafts"], curves, defers=defers)


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


GRIDS: Mapping[str, Callable[[Sequence[Record]], list[Point]]] = {
    "ead": ead_grid,
    "cascade": cascade_grid,
    "bild": bild_grid,
    "fly": fly_grid,
}
"""Approximate methods with fitted thresholds."""


def candidates(
    points: Sequence[Point],
    records: Sequence[Record],
    curves: Curves,
    own_ms: float,
    tick: Callable[[float], None] = lambda share: None,
) -> list[Candidate]:
    """Each point replayed; `own_ms` is what a step takes apart from forwards."""
    part = records[:REPLAYED]
    found = []
    for number, point in enumerate(points):
        tick(number / len(points))
        seen = replay(point, part, curves)
        found.append(
            Candidate(
                point,
                seen.least,
                seen.most,
                seen.ms_per_token(own_ms),
                seen.ms_per_token(0.0),
                seen.left / max(1, seen.answers),
            )
        )
    return found


def left_by(point: Point, records: Sequence[Record], curves: Curves) -> float:
    """Share of the answers whose path a point leaves, by replay on all records."""
    seen = replay(point, records, curves)
    return seen.left / max(1, seen.answers)


def promising(known: Sequence[Candidate], keep: float, count: int) -> list[Candidate]:
    """Points of the replayed front whose certain agreement lies about `keep`, the likeliest to be chosen first.

    Replay knows only that much, since what follows after a path was left may agree again, or matter to nobody.
    """
    edge = front([_ByLeast(candidate) for candidate in known])
    chosen: list[Candidate] = []
    for factor in TARGETS[:count]:
        enough = [p for p in edge if p.quality >= 1 - (1 - keep) * factor]
        pick = enough[0] if enough else edge[-1]
        if pick.candidate not in chosen:
            chosen.append(pick.candidate)
    return chosen


def paper_point(known: Sequence[Candidate], keep: float) -> Candidate | None:
    """EAD with the published window and dwell, at the fastest threshold that may keep enough, else at the safest."""
    published = [c for c in known if set(PAPER) <= set(c.point.settings)]
    enough = [c for c in published if c.least >= keep]
    if enough:
        return min(enough, key=lambda c: c.ms_per_token)
    return max(published, key=lambda c: c.least, default=None)


def _thresholds(records: Sequence[Record]) -> list[float]:
    """The small model's entropies that are passed at the trigger rates, nats."""
    return _quantiles(np.concatenate([record.small_entropy for record in records]))


def _quantiles(column: Column) -> list[float]:
    return sorted({round(float(np.quantile(column, 1 - rate)), 4) for rate in TRIGGER_RATES})


@dataclass(frozen=True)
class _ByLeast:
    candidate: Candidate

    @property
    def ms_per_token(self) -> float:
        values = self.candidate.point.table()
        involved = values.get("window", 1) > 1 or values.get("dwell", 0) > 0
        if self.candidate.point.strategy == "ead" and involved:
            return INVOLVED * self.candidate.ms_per_token
        return self.candidate.ms_per_token

    @property
    def quality(self) -> float:
        return self.candidate.least
