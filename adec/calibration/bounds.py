"""Distribution-free bounds on a mean loss in [0, 1] from independent trials.

A p-value here is for the hypothesis "the mean loss is above the level": where it is at most 1 - confidence, the level holds with that
confidence (learn then test: Angelopoulos et al. 2021, arXiv 2110.01052; used so by CALM, Schuster et al. 2022, arXiv 2207.07061).

    losses of 0 and 1   the exact binomial tail (Clopper and Pearson 1934)
    losses between      the smaller of Hoeffding's and Bentkus's bound (Bates et al. 2021, arXiv 2101.02703, theorem 3)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

MOST_PROMPTS = 1_000_000
"""Numbers of prompts beyond this are not looked for."""

_STEPS = 60
"""Halvings of an interval: past the precision of a float."""


def binomial_tail(k: int, n: int, p: float) -> float:
    """P(X <= k) of a binomial X with n trials of chance p, by exact summation in logarithms."""
    if k < 0:
        return 0.0
    if k >= n or p <= 0:
        return 1.0
    if p >= 1:
        return 0.0
    log_p, log_q = math.log(p), math.log1p(-p)
    logs = [_log_choose(n, i) + i * log_p + (n - i) * log_q for i in range(k + 1)]
    most = max(logs)
    return min(1.0, math.exp(most) * math.fsum(math.exp(value - most) for value in logs))


def p_value(losses: Sequence[float], level: float) -> float:
    """The p-value of "the mean loss is above `level`"; 1 without losses. Losses lie in [0, 1], else ValueError."""
    if not losses:
        return 1.0
    if not all(0 <= loss <= 1 for loss in losses):
        raise ValueError("a loss lies between 0 and 1")
    return _p_value(math.fsum(losses), len(losses), level, is_binary(losses))


def upper_bound(losses: Sequence[float], confidence: float) -> float:
    """The least level that `losses` prove with `confidence`: the mean loss is at most that. 1 where nothing is proved."""
    if not losses:
        return 1.0
    total, count, binary = math.fsum(losses), len(losses), is_binary(losses)
    low, high = total / count, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if _p_value(total, count, middle, binary) <= 1 - confidence:
            high = middle
        else:
            low = middle
    return high


def prompts_needed(mean: float, level: float, confidence: float, *, binary: bool) -> int | None:
    """Trials that prove `level` when the mean loss of them is `mean`; None where no number up to a million does."""
    if mean >= level or level <= 0:
        return None
    low, high = 0, 1
    while _p_value(mean * high, high, level, binary) > 1 - confidence:
        low, high = high, 2 * high
        if high > MOST_PROMPTS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        if _p_value(mean * middle, middle, level, binary) <= 1 - confidence:
            high = middle
        else:
            low = middle
    return high


def is_binary(losses: Sequence[float]) -> bool:
    """Whether the losses are zeros and ones only, so that the exact tail may be used."""
    return all(loss in (0, 1) for loss in losses)


def _p_value(total: float, count: int, level: float, binary: bool) -> float:
    # sums of floats such as 0.1 may lie a hair above a whole number
    failures = math.ceil(total - 1e-9)
    tail = binomial_tail(failures, count, level)
    if binary:
        return tail
    return min(1.0, _hoeffding(total / count, count, level), math.e * tail)


def _hoeffding(mean: float, count: int, level: float) -> float:
    """exp(-n KL(mean || level)), 1 where the mean is not below the level."""
    if mean >= level:
        return 1.0
    if level >= 1:
        return 0.0
    divergence = (1 - mean) * math.log((1 - mean) / (1 - level))
    if mean > 0:
        divergence += mean * math.log(mean / level)
    return math.exp(-count * divergence)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
