"""Candidates for thresholds, their replay, and the front of quality against time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from adec.calibration.replay import Replay, cascade_defers, replay_chain, replay_ead
from adec.calibration.signals import Column, Record
from adec.calibration.trial import Point
from adec.decoding.pair.costs import Curves
from adec.decoding.pair.ead import EadSettings

TRIGGER_RATES = (0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.18, 0.25, 0.35, 0.5)
"""Shares of positions at which a threshold shall wake the large model: candidates of EAD, and thresholds to be stored."""
WINDOWS = (1, 3, 5)
DWELLS = (0, 3, 10)
PAPER = (("window", 5), ("dwell", 10))
"""EAD's constants as published (arXiv 2502.06833)."""
ALPHAS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7)
LENGTHS = (2, 3, 5)
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
    large_share: float


class OnFront(Protocol):
    """What a front is made of."""

    @property
    def ms_per_token(self) -> float: ...

    @property
    def quality(self) -> float: ...


T = TypeVar("T", bound=OnFront)


def ead_candidates(records: Sequence[Record], curves: Curves, own_ms: float) -> list[Candidate]:
    """EAD over thresholds by trigger rate, windows, dwells, with and without hysteresis; each replayed."""
    part = records[:REPLAYED]
    entropies = np.concatenate([record.small_entropy for record in part])
    found = []
    for up in sorted({float(np.quantile(entropies, 1 - rate)) for rate in TRIGGER_RATES}):
        for window in WINDOWS:
            for dwell in DWELLS:
                for down in (up, up / 2):
                    settings = EadSettings(up=up, down=down, window=window, dwell=dwell)
                    replay = replay_ead(part, settings, curves)
                    found.append(_candidate(_ead_point(settings), replay, own_ms))
    return found


def cascade_candidates(records: Sequence[Record], curves: Curves, own_ms: float) -> list[Candidate]:
    """Speculative cascades over their knob and the draft length, by the paper's optimal rule; each replayed."""
    part = records[:REPLAYED]
    found = []
    for alpha in ALPHAS:
        defers = [cascade_defers(record, "optimal", alpha) for record in part]
        for drafts in LENGTHS:
            replay = replay_chain(part, drafts, curves, defers=defers)
            point = Point("cascade", (("alpha", alpha), ("drafts", drafts), ("rule", "optimal")))
            found.append(_candidate(point, replay, own_ms))
    return found


def forwards_of(point: Point, records: Sequence[Record], curves: Curves) -> float:
    """Milliseconds of forwards a token takes at a point of EAD or a cascade, by replay."""
    part, values = records[:REPLAYED], point.table()
    if point.strategy == "ead":
        return replay_ead(part, EadSettings(**values), curves).ms_per_token(0.0)
    defers = [cascade_defers(record, values["rule"], values["alpha"]) for record in part]
    return replay_chain(part, values["drafts"], curves, defers=defers).ms_per_token(0.0)


def front(points: Iterable[T]) -> list[T]:
    """The points that no other one beats in both time and quality, fastest first."""
    best: list[T] = []
    for point in sorted(points, key=lambda p: (p.ms_per_token, -p.quality)):
        if not best or point.quality > best[-1].quality:
            best.append(point)
    return best


def promising(candidates: Sequence[Candidate], keep: float, count: int) -> list[Candidate]:
    """Points of the replayed front whose certain agreement lies about `keep`, from a little below it to almost 1.

    Replay knows only that much, since what follows after a path was left may agree again, or matter to nobody.
    """
    wanted = [1 - (1 - keep) * factor for factor in (4, 2, 1, 0.5, 0.2)][:count]
    edge = front([_ByLeast(candidate) for candidate in candidates])
    chosen: list[Candidate] = []
    for target in wanted:
        enough = [p for p in edge if p.quality >= target]
        pick = enough[0] if enough else edge[-1]
        if pick.candidate not in chosen:
            chosen.append(pick.candidate)
    return chosen


def paper_point(candidates: Sequence[Candidate], keep: float) -> Candidate | None:
    """EAD with the published window and dwell, at the fastest threshold that may keep enough, else at the safest."""
    known = [c for c in candidates if set(PAPER) <= set(c.point.settings)]
    enough = [c for c in known if c.least >= keep]
    if enough:
        return min(enough, key=lambda c: c.ms_per_token)
    return max(known, key=lambda c: c.least, default=None)


@dataclass(frozen=True)
class Logistic:
    """P(the small model's token is the large one's) = 1 / (1 + exp(-(weight * entropy + bias))) (AdaDec, arXiv 2506.08980)."""

    weight: float
    bias: float

    def agreement(self, entropy: float) -> float:
        """The chance at one entropy."""
        return 1 / (1 + math.exp(-max(-60.0, min(60.0, self.weight * entropy + self.bias))))


def fit_logistic(entropies: Column, agrees: Column) -> Logistic | None:
    """One-feature logistic regression by Newton's method, with a light ridge so that separable data has an answer.

    None when all positions are alike: there is nothing to tell apart.
    """
    if len(entropies) < 2 or agrees.all() or not agrees.any():
        return None
    features = np.stack([entropies, np.ones_like(entropies)], axis=1)
    theta = np.zeros(2)
    for _ in range(50):
        chance = 1 / (1 + np.exp(-np.clip(features @ theta, -60, 60)))
        gradient = features.T @ (agrees - chance) - 1e-3 * theta
        curvature = (features * (chance * (1 - chance))[:, None]).T @ features + 1e-3 * np.eye(2)
        move = np.linalg.solve(curvature, gradient)
        theta += np.clip(move, -5, 5)
        if np.abs(move).max() < 1e-8:
            break
    return Logistic(float(theta[0]), float(theta[1]))


def percentile_of(value: float, column: Column) -> float:
    """Share of the positions at or below a value, 0 to 100: how a threshold is compared between pairs."""
    return float(100 * (column <= value).mean()) if len(column) else 0.0


@dataclass(frozen=True)
class _ByLeast:
    candidate: Candidate

    @property
    def ms_per_token(self) -> float:
        return self.candidate.ms_per_token

    @property
    def quality(self) -> float:
        return self.candidate.least


def _ead_point(settings: EadSettings) -> Point:
    down = settings.up if settings.down is None else settings.down
    return Point(
        "ead",
        (
            ("up", round(settings.up, 4)),
            ("down", round(down, 4)),
            ("window", settings.window),
            ("dwell", settings.dwell),
        ),
    )


def _candidate(point: Point, replay: Replay, own_ms: float) -> Candidate:
    return Candidate(
        point,
        replay.least,
        replay.most,
        replay.ms_per_token(own_ms),
        replay.ms_per_token(0.0),
        replay.large_tokens / max(1, replay.replayed),
    )
