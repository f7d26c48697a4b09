"""The front of quality against time, and what entropies say of agreement."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from adec.calibration.signals import Column

TRIGGER_RATES = (0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.18, 0.25, 0.35, 0.5)
"""Shares of positions at which a threshold shall wake the large model: candidates of EAD, and thresholds to be stored."""


class OnFront(Protocol):
    """What a front is made of."""

    @property
    def ms_per_token(self) -> float: ...

    @property
    def quality(self) -> float: ...


T = TypeVar("T", bound=OnFront)


def front(points: Iterable[T]) -> list[T]:
    """The points that no other one beats in both time and quality, fastest first."""
    best: list[T] = []
    for point in sorted(points, key=lambda p: (p.ms_per_token, -p.quality)):
        if not best or point.quality > best[-1].quality:
            best.append(point)
    return best


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
