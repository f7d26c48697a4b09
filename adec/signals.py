"""What one row of logits says about how sure a model is, and rolling means of it. Entropies are nats."""

from __future__ import annotations

from collections import deque
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Row = NDArray[np.float32]

_BLOCK = 128


class Scores(Protocol):
    """Rows of logits after a forward, each computed on where it lies: (rows, vocabulary), float32.

    The values stay right after later calls to the engine. Probabilities here are at temperature 1,
    before any warper.
    """

    def __len__(self) -> int: ...

    def row(self, index: int) -> Row:
        """The logits of a row on the CPU, shape (vocabulary,)."""
        ...

    def argmax(self, index: int) -> int:
        """The likeliest token; the lowest id among equals, here and in `top`."""
        ...

    def top(self, index: int, count: int) -> list[tuple[int, float]]:
        """The `count` likeliest tokens with their probabilities, likeliest first."""
        ...

    def entropy(self, index: int) -> float:
        """Shannon entropy in nats."""
        ...

    def margin(self, index: int) -> float:
        """Probability of the likeliest token less that of the second."""
        ...

    def probability(self, index: int, token: int) -> float:
        """Probability of one token."""
        ...


class ArrayScores:
    """Scores over a numpy array that nobody else writes to."""

    __slots__ = ("_exponentials", "_logits")

    def __init__(self, logits: NDArray[np.float32]) -> None:
        if logits.ndim != 2:
            raise ValueError(f"scores need shape (rows, vocabulary), got {logits.shape}")
        self._logits = logits
        # exp(row - max) and its sum, kept for the row last asked for: a row is usually asked three things
        self._exponentials: tuple[int, Row, float] | None = None

    def __len__(self) -> int:
        return int(self._logits.shape[0])

    def row(self, index: int) -> Row:
        row: Row = self._logits[index]
        return row

    def argmax(self, index: int) -> int:
        return int(self._logits[index].argmax())

    def top(self, index: int, count: int) -> list[tuple[int, float]]:
        exponentials, total = self._exp(index)
        ids = likeliest(self._logits[index], count)
        return [(int(token), float(exponentials[token] / total)) for token in ids]

    def entropy(self, index: int) -> float:
        # H = log Z - E[logit], with logits shifted by their maximum
        row = self._logits[index]
        exponentials, total = self._exp(index)
        shifted = row - row.max()
        with np.errstate(invalid="ignore"):
            mean = float(exponentials @ shifted) / total
        if not np.isfinite(mean):  # a token at -inf adds nothing, but 0 * -inf is not a number
            alive = exponentials > 0
            mean = float(exponentials[alive] @ shifted[alive]) / total
        return max(0.0, float(np.log(total)) - mean)

    def margin(self, index: int) -> float:
        row = self._logits[index]
        if row.shape[0] < 2:
            return 1.0
        best = int(row.argmax())
        second = max(row[:best].max(initial=-np.inf), row[best + 1 :].max(initial=-np.inf))
        _, total = self._exp(index)
        return float((1.0 - np.exp(second - row[best])) / total)

    def probability(self, index: int, token: int) -> float:
        exponentials, total = self._exp(index)
        return float(exponentials[token] / total)

    def _exp(self, index: int) -> tuple[Row, float]:
        if self._exponentials is None or self._exponentials[0] != index:
            row = self._logits[index]
            exponentials = np.exp(row - row.max())
            self._exponentials = (index, exponentials, float(exponentials.sum()))
        return self._exponentials[1], self._exponentials[2]


def likeliest(row: Row, count: int) -> NDArray[np.int64]:
    """Ids of the `count` greatest logits that are not -inf, greatest first; the lower id among equals.

    The count-th greatest block maximum bounds the count-th greatest logit from below, so only what reaches it is sorted.
    """
    size = row.shape[0]
    blocks = size // _BLOCK
    if blocks > count:
        maxima = row[: blocks * _BLOCK].reshape(blocks, _BLOCK).max(axis=1)
        bound = np.partition(maxima, blocks - count)[blocks - count]
        ids = np.flatnonzero(row >= bound)
    else:
        ids = np.arange(size)
    values = row[ids]
    order = np.argsort(-values, kind="stable")[:count]
    order = order[values[order] > -np.inf]
    return ids[order]


class RollingMean:
    """Mean of the last `window` values; of fewer while fewer were seen."""

    def __init__(self, window: int) -> None:
        if window < 1:
            raise ValueError("a window holds at least one value")
        self._values: deque[float] = deque(maxlen=window)

    def add(self, value: float) -> float:
        """Take a value in and return the mean."""
        self._values.append(value)
        return self.value

    @property
    def value(self) -> float:
        """The mean now; 0 before the first value."""
        return sum(self._values) / len(self._values) if self._values else 0.0

    def reset(self) -> None:
        """Forget every value."""
        self._values.clear()
