"""The entropy at which AdaDec pauses, learned from positions where the right token is known.

He et al. 2025, arXiv 2506.08980, fit a logistic regression from entropy to whether the likeliest
token was right, on classes of equal size. They choose the probability p* that decides best on
held-out positions; the threshold is the entropy where the curve has that value, theta = (logit(p*)
- b) / w.

What is different here: among positions that are nearly all right, p* depends on how many are not.
So the share of positions that may pause can be given instead; theta is then that quantile of the
entropies.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adec.engines.base import Engine

Values = NDArray[np.float64]
Flags = NDArray[np.bool_]

HELD_OUT = 0.2
SEED = 42
"""Share and seed of the split, as in the released code."""
TRIGGER_RATE = 0.02
"""The usual share of positions that pause, if a share is given."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """A learned threshold and what it rests on."""

    nats: float
    weight: float
    """w: of entropy in the regression; negative, since a surer model is right more often."""
    bias: float
    """b."""
    cut: float
    """p*: the probability of being right at `nats`."""
    trigger_rate: float
    """Share of the observed positions at which AdaDec would pause."""
    positions: int


def observe(engine: Engine, prompt: Sequence[int], solution: Sequence[int]) -> tuple[Values, Flags]:
    """(entropies, whether the likeliest token was the solution's), each of shape (len(solution),).

    The engine reads prompt and solution (at least one token each) from an empty sequence,
    teacher-forced. Raises EngineError.
    """
    engine.rewind(0)
    tokens = [*prompt, *solution]
    scores = engine.forward(tokens[:-1], rows=len(solution))
    entropies = np.array([scores.entropy(i) for i in range(len(solution))])
    right = np.array([scores.argmax(i) == token for i, token in enumerate(solution)])
    return entropies, right


def learn_threshold(
    entropies: Values, right: Flags, *, trigger_rate: float | None = None, seed: int = SEED
) -> Threshold:
    """AdaDec's threshold from entropies (nats) and whether the likeliest token was right.

    Both have shape (positions,). `trigger_rate`, between 0 and 1: the share of positions that shall
    pause, in place of the paper's choice of p*. Raises ValueError when the shapes differ, a value
    is not finite, a class has fewer than ten positions, or surer positions are not right more
    often.
    """
    if entropies.ndim != 1 or entropies.shape != right.shape:
        raise ValueError(f"shapes {entropies.shape} and {right.shape} are not those of pairs")
    if not np.isfinite(entropies).all():
        raise ValueError("an entropy is not finite")
    if trigger_rate is not None and not 0 < trigger_rate < 1:
        raise ValueError(f"a trigger rate of {trigger_rate} is not between 0 and 1")
    order = np.random.default_rng(seed).permutation(len(entropies))
    held = round(HELD_OUT * len(order))
    test, train = order[:held], order[held:]
    x, y = _balanced(entropies[train], right[train], seed)
    weight, bias = fit_logistic(x, y)
    if weight >= 0:
        raise ValueError("where this model is surer it is not right more often")
    if trigger_rate is None:
        cut = _best_cut(sigmoid(weight * entropies[test] + bias), right[test])
        nats = (math.log(cut / (1 - cut)) - bias) / weight
    else:
        nats = _quantile(entropies, trigger_rate)
        cut = float(sigmoid(np.array([weight * nats + bias]))[0])
    nats = max(0.0, nats)
    rate = float((entropies >= nats).mean())
    return Threshold(nats, weight, bias, cut, rate, len(entropies))


def quantile_threshold(entropies: Values, rate: float) -> Threshold:
    """The threshold at which a share of the positions pauses; without a fit, the rest is nan."""
    nats, unknown = _quantile(entropies, rate), math.nan
    share = float((entropies >= nats).mean())
    return Threshold(nats, unknown, unknown, unknown, share, len(entropies))


def fit_logistic(
    x: Values, y: Flags, *, ridge: float = 1.0, rounds: int = 50
) -> tuple[float, float]:
    """(weight, bias) of P(y) = sigmoid(weight * x + bias) by Newton's method.

    A penalty of ridge / 2 * weight^2 keeps the fit finite where the classes can be separated.
    """
    design = np.stack([x, np.ones_like(x)], axis=1)
    penalty = np.diag([ridge, 0.0])
    beta = np.zeros(2)
    for _ in range(rounds):
        p = sigmoid(design @ beta)
        gradient = design.T @ (p - y) + penalty @ beta
        spread = np.maximum(p * (1 - p), 1e-9)
        step = np.linalg.solve((design.T * spread) @ design + penalty + 1e-9 * np.eye(2), gradient)
        # a full step can overshoot where the curve is flat
        beta -= step * min(1.0, 5.0 / max(1e-12, float(np.abs(step).max())))
        if np.abs(step).max() < 1e-9:
            break
    return float(beta[0]), float(beta[1])


def sigmoid(x: Values) -> Values:
    """1 / (1 + exp(-x)), without overflow."""
    result: Values = 0.5 * (1 + np.tanh(0.5 * x))
    return result


def _balanced(x: Values, y: Flags, seed: int) -> tuple[Values, Flags]:
    """As many of one class as of the other, the larger one thinned at random."""
    classes = [np.flatnonzero(y), np.flatnonzero(~y)]
    count = min(map(len, classes))
    if count < 10:
        raise ValueError(
            f"{len(classes[0])} positions where the likeliest token was right and"
            f" {len(classes[1])} where it was not; ten of each are the least"
        )
    rng = np.random.default_rng(seed)
    kept = np.concatenate([rng.choice(indices, count, replace=False) for indices in classes])
    return x[kept], y[kept]


def _best_cut(predicted: Values, right: Flags) -> float:
    """The p* in 0.01 … 0.99 at which predicting "right" errs least; the lowest among equals."""
    cuts = np.arange(1, 100) / 100
    hits = ((predicted[None, :] >= cuts[:, None]) == right[None, :]).sum(axis=1)
    return float(cuts[int(hits.argmax())])


def _quantile(entropies: Values, rate: float) -> float:
    """The lowest entropy seen that at most `rate` of the positions reach, or one above all."""
    ordered = np.sort(entropies)
    allowed = int(rate * len(ordered))
    # ties with a position that may not pause may not pause either
    first = int(np.searchsorted(ordered, ordered[len(ordered) - allowed - 1], side="right"))
    if first == len(ordered):
        return float(np.nextafter(ordered[-1], np.inf))
    return float(ordered[first])
