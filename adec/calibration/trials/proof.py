"""The statistics of the proof: bounds on a mean loss, and tests in an order that was fixed before.

The bounds hold for independent losses in [0, 1] of any distribution. A p-value here is for the
hypothesis "the mean loss is above the level": where it is at most 1 - confidence, the level holds
with that confidence (learn then test: Angelopoulos et al. 2021, arXiv 2110.01052; so used by CALM,
Schuster et al. 2022, arXiv 2207.07061).

    losses of 0 and 1   the exact binomial tail (Clopper and Pearson 1934)
    losses between      the smaller of Hoeffding's and Bentkus's bound
                        (Bates et al. 2021, arXiv 2101.02703, theorem 3)

The points of a family are tested in an order that was fixed on other prompts, the safest first,
until one fails, so each test may have the family's whole error (fixed-sequence testing; arXiv
2110.01052, section 4). Families share the error (Bonferroni). Then with probability `confidence`
no point that is called proved breaks the budget, whichever of them is picked afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

MOST_PROMPTS = 1_000_000
"""More prompts than this are not looked for."""
CLEARLY = 0.05
"""Chance of a loss like this one, were the budget just kept, below which more prompts are called
useless."""

T = TypeVar("T")

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
    """The p-value of "the mean loss is above `level`"; 1 without losses.

    Raises ValueError unless all losses lie in [0, 1].
    """
    if not losses:
        return 1.0
    if not all(0 <= loss <= 1 for loss in losses):
        raise ValueError("a loss lies between 0 and 1")
    return _p_value(math.fsum(losses), len(losses), level, is_binary(losses))


def upper_bound(losses: Sequence[float], confidence: float) -> float:
    """The lowest level that `losses` prove with `confidence`: the mean loss is at most that.

    1 where nothing is proved.
    """
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
    """Trials with a mean loss of `mean` that prove `level`; None where a million do not."""
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


@dataclass(frozen=True)
class Tested(Generic[T]):
    """One point on the held-out prompts."""

    point: T
    losses: tuple[float, ...]
    level: float
    """The mean loss that is allowed."""
    confidence: float
    """Of this test, after the correction for the number of families."""
    proved: bool
    tested: bool
    """False where an earlier point of the family failed, so that this one was not tested."""

    @property
    def mean(self) -> float:
        return sum(self.losses) / len(self.losses) if self.losses else 0.0

    @property
    def bound(self) -> float:
        """The mean loss that these prompts exclude with this test's confidence."""
        return upper_bound(self.losses, self.confidence)

    @property
    def more_prompts(self) -> int | None:
        """Prompts missing if further ones are like these; 0 when proved, None when none would help.

        Where a mean past the budget may well be bad luck, further ones are taken to lose half of
        what may be lost.
        """
        if self.proved:
            return 0
        mean, binary = self.mean, is_binary(self.losses)
        if mean >= self.level and not self._is_past:
            mean = self.level / 2
        needed = prompts_needed(mean, self.level, self.confidence, binary=binary)
        return None if needed is None else max(1, needed - len(self.losses))

    @property
    def _is_past(self) -> bool:
        """Whether the mean loss is above the level by more than luck explains.

        Hoeffding's and Bentkus's bound from the other side.
        """
        gains = [1 - loss for loss in self.losses]
        return p_value(gains, 1 - self.level) <= CLEARLY


def prove(
    families: Mapping[str, Sequence[tuple[T, Sequence[float]]]], level: float, confidence: float
) -> dict[str, list[Tested[T]]]:
    """Test every family's points in the order given, which must not depend on these losses."""
    error = (1 - confidence) / max(1, len(families))
    return {name: _sequence(points, level, 1 - error) for name, points in families.items()}


def _sequence(
    points: Sequence[tuple[T, Sequence[float]]], level: float, confidence: float
) -> list[Tested[T]]:
    tests: list[Tested[T]] = []
    going = True
    for point, losses in points:
        passed = going and p_value(losses, level) <= 1 - confidence
        tests.append(Tested(point, tuple(losses), level, confidence, passed, going))
        going = passed
    return tests
