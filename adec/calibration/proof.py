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
        """Prompts that are missing if further ones are like these; 0 when it is proved, None when no number would do."""
        if self.proved:
            return 0
        if not self.losses:
            needed = prompts_needed(0.0, self.level, self.confidence, binary=True)
        else:
            needed = prompts_needed(
                self.mean, self.level, self.confidence, binary=is_binary(self.losses)
            )
        return None if needed is None else max(1, needed - len(self.losses))


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
