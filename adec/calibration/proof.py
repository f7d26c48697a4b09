"""The proof on held-out prompts: which of the chosen points keep the budget, with the given confidence, over all that was tried.

Points of one family are tested in an order that was fixed on other prompts, the safest first, until one fails: so each test may
have the family's whole error (fixed-sequence testing; Angelopoulos et al. 2021, arXiv 2110.01052, section 4). Families share the error
(Bonferroni). Then with probability `confidence` no point that is called proved breaks the budget, whichever of them is picked afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from adec.calibration.bounds import is_binary, p_value, prompts_needed, upper_bound

T = TypeVar("T")

CLEARLY = 0.05
"""Chance of a loss like this one, were the budget just kept, below which more prompts are said to be of no use."""


@dataclass(frozen=True)
class Tested(Generic[T]):
    """One point on the held-out prompts."""

    point: T
    losses: tuple[float, ...]
    level: float
    """The mean loss that shall not be passed."""
    confidence: float
    """Of this test, after the correction for the number of families."""
    proved: bool
    reached: bool
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
        """Prompts that are missing if further ones are like these; 0 when it is proved, None when no number would do.

        Where a mean past the budget may well be bad luck, further ones are taken to lose half of what may be lost.
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
        """Whether the mean loss is above the level by more than luck explains: Hoeffding's and Bentkus's bound from the other side."""
        gains = [1 - loss for loss in self.losses]
        return p_value(gains, 1 - self.level) <= CLEARLY


def prove(
    families: Mapping[str, Sequence[tuple[T, Sequence[float]]]], level: float, confidence: float
) -> dict[str, list[Tested[T]]]:
    """Tested every family's points in the order given. The order must not depend on these losses."""
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
