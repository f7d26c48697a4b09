"""Rows of several forwards as one."""

from __future__ import annotations

from collections.abc import Sequence

from adec.signals import Row, Scores

Part = tuple[Scores, int]
"""Scores, and one of their rows."""


class JoinedScores:
    """Scores whose rows stand in those of other forwards."""

    __slots__ = ("_parts",)

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = list(parts)

    @classmethod
    def of(cls, parts: Sequence[Part]) -> Scores:
        """These rows in this order; the very scores where they are all the rows of one forward."""
        whole = parts[0][0] if parts else None
        if whole is None or len(whole) != len(parts):
            return cls(parts)
        same = all(scores is whole and row == i for i, (scores, row) in enumerate(parts))
        return whole if same else cls(parts)

    def __len__(self) -> int:
        return len(self._parts)

    def row(self, index: int) -> Row:
        scores, row = self._parts[index]
        return scores.row(row)

    def argmax(self, index: int) -> int:
        scores, row = self._parts[index]
        return scores.argmax(row)

    def top(self, index: int, count: int) -> list[tuple[int, float]]:
        scores, row = self._parts[index]
        return scores.top(row, count)

    def entropy(self, index: int) -> float:
        scores, row = self._parts[index]
        return scores.entropy(row)

    def margin(self, index: int) -> float:
        scores, row = self._parts[index]
        return scores.margin(row)

    def probability(self, index: int, token: int) -> float:
        scores, row = self._parts[index]
        return scores.probability(row, token)

    def distance(self, index: int, other: Scores, row: int) -> float:
        scores, own = self._parts[index]
        return scores.distance(own, other, row)
