"""Rows of which only the likeliest tokens are known, as servers tell them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from adec.signals import Row, Scores, total_variation


class LikeliestRow:
    """The likeliest tokens of one position with their probabilities, and the mass of the rest."""

    __slots__ = ("_by_id", "ids", "only_end", "probabilities", "rest")

    def __init__(
        self,
        nats: Sequence[tuple[int, float]],
        best: int | None = None,
        *,
        only_end: bool = False,
    ) -> None:
        """`nats`: ids with log-probabilities; the first of an id counts.

        `best`: the token that the server itself chose, which stands first even among equals.
        `only_end`: nothing is known but that the server ended its answer here.
        """
        self.only_end = only_end
        found: dict[int, float] = {}
        for token, value in nats:
            found.setdefault(token, math.exp(value))
        if best is not None and best not in found:
            found[best] = max(found.values(), default=1.0)
        ranked = sorted(found.items(), key=lambda one: (one[0] != best, -one[1]))
        if best is None:
            ranked.sort(key=lambda one: -one[1])
        total = sum(found.values())
        scale = 1 / total if total > 1 else 1.0
        self.ids = [token for token, _ in ranked]
        self.probabilities = [value * scale for _, value in ranked]
        self.rest = max(0.0, 1 - total)
        self._by_id = dict(zip(self.ids, self.probabilities, strict=True))

    def probability(self, token: int, size: int) -> float:
        """A token that was not told gets its share of the rest, out of `size` tokens."""
        found = self._by_id.get(token)
        return self.rest / max(1, size - len(self.ids)) if found is None else found

    def entropy(self) -> float:
        """A lower bound, in nats: no token of the rest is likelier than the least of those told."""
        told = sum(-p * math.log(p) for p in self.probabilities if p > 0)
        least = min((p for p in self.probabilities if p > 0), default=1.0)
        return told - self.rest * math.log(least)


class LikeliestScores:
    """Scores over `LikeliestRow`s; a row that is not known yet is fetched when it is read."""

    __slots__ = ("_end", "_fetch", "_rows", "_size")

    def __init__(
        self,
        rows: Sequence[LikeliestRow | None],
        size: int,
        fetch: Callable[[int], LikeliestRow] | None = None,
        end: Callable[[int], LikeliestRow | None] | None = None,
    ) -> None:
        """`size`: of the vocabulary. `fetch`: gives the row of an index that is None.

        `end`: gives the row of an index at which only the end of the answer is known, where a
        token shall be drawn.
        """
        self._rows = list(rows)
        self._size = size
        self._fetch = fetch
        self._end = end

    def __len__(self) -> int:
        return len(self._rows)

    def argmax(self, index: int) -> int:
        return self._at(index).ids[0]

    def top(self, index: int, count: int) -> list[tuple[int, float]]:
        row = self._at(index)
        return list(zip(row.ids, row.probabilities, strict=True))[:count]

    def entropy(self, index: int) -> float:
        return self._at(index).entropy()

    def margin(self, index: int) -> float:
        chances = self._at(index).probabilities
        return max(0.0, chances[0] - (chances[1] if len(chances) > 1 else 0.0))

    def probability(self, index: int, token: int) -> float:
        return self._at(index).probability(token, self._size)

    def distance(self, index: int, other: Scores, row: int) -> float:
        return total_variation(self.row(index), other.row(row))

    def row(self, index: int) -> Row:
        """Log-probabilities, and minus infinity where none was told."""
        known = self._at(index)
        if known.only_end and self._end is not None:
            known = self._end(index) or known
            self._rows[index] = known
        row = np.full(self._size, -np.inf, dtype=np.float32)
        with np.errstate(divide="ignore"):
            row[known.ids] = np.log(np.array(known.probabilities))
        if known.probabilities[0] == max(known.probabilities):
            # the first of equals is the server's choice, whatever its id
            row[known.ids[0]] = np.nextafter(row[known.ids[0]], np.float32(np.inf))
        return row

    def _at(self, index: int) -> LikeliestRow:
        row = self._rows[index]
        if row is None:
            assert self._fetch is not None
            row = self._rows[index] = self._fetch(range(len(self._rows))[index])
        return row
