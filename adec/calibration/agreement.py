"""How often drafts of the small model are right, by depth and by rank, and the chain of drafts that pays best for it.

What the records say, in a few figures that a profile keeps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from adec.calibration.recording import Column, Record
from adec.calibration.trial import Measured, Point, own_ms_per_round
from adec.decoding.pair.clock.acceptance_rate import expected_tokens
from adec.decoding.pair.clock.cost_curve import Curves

TRIGGER_RATES = (0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.18, 0.25, 0.35, 0.5)
"""Shares of positions at which a threshold shall wake the large model: candidates of EAD, and thresholds to be stored."""
PERCENTILES = (50, 75, 90, 95, 98, 99)


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


def acceptance_by_depth(records: Sequence[Record], most: int = 8) -> list[float]:
    """Chance that the small model's d-th draft is right, given that those before it are; from every position of the records."""
    hits, trials = [0] * most, [0] * most
    for record in records:
        agrees = record.agrees.tolist()
        for start in range(1, len(agrees)):
            for depth in range(most):
                place = start + depth
                if place >= len(agrees):
                    break
                trials[depth] += 1
                if not agrees[place]:
                    break
                hits[depth] += 1
    return [h / t for h, t in zip(hits, trials, strict=True) if t]


def acceptance_by_rank(records: Sequence[Record], most: int = 4) -> list[float]:
    """Share of positions at which the large model's token has that place in the small one's list."""
    total = sum(len(record) for record in records)
    return [
        sum(int((record.rank == rank).sum()) for record in records) / max(1, total)
        for rank in range(most)
    ]


def best_chain(
    by_depth: Sequence[float], curves: Curves, own_ms: float, most: int = 16
) -> tuple[int, float]:
    """(drafts, tokens per millisecond) of greatest goodput (SmartSpec, arXiv 2406.14066); 0 drafts is plain decoding."""
    assert curves.small is not None
    rates = [by_depth[min(depth, len(by_depth) - 1)] for depth in range(most)] if by_depth else []
    tokens = expected_tokens(rates)
    return max(
        (
            (k, tokens[k] / max(1e-9, own_ms + k * curves.small.ms(1) + curves.large.ms(k + 1)))
            for k in range(len(tokens))
        ),
        key=lambda pair: pair[1],
    )


@dataclass
class Signals:
    """What the records say, in a few figures."""

    answers: int
    tokens: int
    context: int
    """Tokens before a typical forward: the median prompt and half an answer."""
    agreement: float
    by_depth: list[float]
    by_rank: list[float]
    small_entropy: dict[int, float]
    """Percentile to nats; likewise the next."""
    large_entropy: dict[int, float]
    thresholds: dict[float, float]
    """Trigger rate to the small model's entropy that is passed that often."""
    logistic: Logistic | None
    best_chain: int = 0
    break_even_ms: float = 0.0
    """What a forward of the small model may cost at most for a chain of drafts to pay."""


def figures_of(records: Sequence[Record], *, pair: bool) -> Signals:
    """The figures of at least one record."""
    small = np.concatenate([r.small_entropy for r in records])
    large = np.concatenate([r.large_entropy for r in records])
    agrees = np.concatenate([r.agrees for r in records]).astype(np.float64)
    return Signals(
        answers=len(records),
        tokens=len(small),
        context=round(median(r.prompt_tokens + len(r) / 2 for r in records)),
        agreement=float(agrees.mean()),
        by_depth=acceptance_by_depth(records) if pair else [],
        by_rank=acceptance_by_rank(records) if pair else [],
        small_entropy=_quantiles(small) if pair else {},
        large_entropy=_quantiles(large),
        thresholds={rate: float(np.quantile(small, 1 - rate)) for rate in TRIGGER_RATES},
        logistic=fit_logistic(small, agrees) if pair else None,
    )


def set_break_even(signals: Signals, curves: Curves, measured: Sequence[Measured]) -> None:
    """The best chain of drafts, and what a draft may cost for any chain to pay: the greatest d with E[tokens] > time / plain.

    A round's own time is that of the fixed-chain strategy as it ran; the plain token's time likewise.
    """
    chains = [m for m in measured if m.point.strategy == "smartspec" and m.runs]
    plain = next(m for m in measured if m.point.strategy == "plain")
    if curves.small is None or not signals.by_depth or not chains:
        return
    own_ms = own_ms_per_round(chains[0].runs)
    signals.best_chain, _ = best_chain(signals.by_depth, curves, own_ms)
    tokens = expected_tokens(signals.by_depth)
    signals.break_even_ms = max(
        (tokens[k] * plain.ms_per_token - own_ms - curves.large.ms(k + 1)) / k
        for k in range(1, len(tokens))
    )


def _quantiles(column: Any) -> dict[int, float]:
    return {p: float(np.percentile(column, p)) for p in PERCENTILES}


def percentiles(point: Point, records: Sequence[Record]) -> dict[str, float]:
    """The thresholds of EAD as percentiles: `up` of the small model's entropies, `down` of the large one's."""
    columns = {
        "up": np.concatenate([r.small_entropy for r in records]),
        "down": np.concatenate([r.large_entropy for r in records]),
    }
    return {
        name: percentile_of(value, columns[name])
        for name, value in point.settings
        if point.strategy == "ead" and name in columns
    }
