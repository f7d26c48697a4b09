"""How sure a model is of its next token: signals of a row of logits. Entropies are in nats."""

from __future__ import annotations

from collections import deque
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Row = NDArray[np.float32]

_BLOCK = 128
_FEW = 64


class Signals(Protocol):
    """What rules read of a forward, row by row: all that a calibration record keeps, too.

    Row i predicts the token after the i-th token for which a row was computed. Probabilities are at
    temperature 1, before any warper. The values stay valid after later calls to the engine.
    """

    def __len__(self) -> int:
        """Number of rows."""
        ...

    def argmax(self, index: int) -> int:
        """The likeliest token; among equals the lowest id, here and in `top`."""
        ...

    def top(self, index: int, count: int) -> list[tuple[int, float]]:
        """The `count` likeliest tokens with their probabilities, likeliest first.

        Fewer when the row has fewer possible tokens, or when a record keeps fewer.
        """
        ...

    def entropy(self, index: int) -> float:
        """Shannon entropy in nats."""
        ...

    def margin(self, index: int) -> float:
        """Probability of the likeliest token minus that of the second; 1 for a single token."""
        ...

    def probability(self, index: int, token: int) -> float:
        """Probability of one token."""
        ...

    def distance(self, index: int, other: Scores, row: int) -> float:
        """Total variation between this row and a row of another model on the same vocabulary."""
        ...


class Scores(Signals, Protocol):
    """Signals together with the rows of logits that they come from.

    An engine computes each signal lazily and on the device that holds the logits.
    """

    def row(self, index: int) -> Row:
        """The logits of a row on the CPU, shape (vocabulary,), float32. Not to be written to."""
        ...


class ArrayScores:
    """Scores over a numpy array, shape (rows, vocabulary), that nobody writes to any more."""

    __slots__ = ("_exponentials", "_logits")

    def __init__(self, logits: NDArray[np.float32]) -> None:
        if logits.ndim != 2:
            raise ValueError(f"scores need shape (rows, vocabulary), got {logits.shape}")
        self._logits = logits
        # exp(row - max) and its sum for the last row: several signals of a row are read in turn
        self._exponentials: tuple[int, Row, float] | None = None

    def __len__(self) -> int:
        return int(self._logits.shape[0])

    @property
    def logits(self) -> NDArray[np.float32]:
        """All rows, which nobody may write to."""
        return self._logits

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

    def distance(self, index: int, other: Scores, row: int) -> float:
        return total_variation(self.row(index), other.row(row))

    def _exp(self, index: int) -> tuple[Row, float]:
        if self._exponentials is None or self._exponentials[0] != index:
            row = self._logits[index]
            exponentials = np.exp(row - row.max())
            self._exponentials = (index, exponentials, float(exponentials.sum()))
        return self._exponentials[1], self._exponentials[2]


def compared(value: float, sign: str, threshold: float) -> str:
    """A signal beside its threshold, with two digits, or as many as tell them apart."""
    for digits in (2, 4, 8):
        words = f"{value:.{digits}f}", f"{threshold:.{digits}f}"
        if words[0] != words[1] or value == threshold:
            break
    return f"{words[0]} {sign} {words[1]}"


def total_variation(first: Row, second: Row) -> float:
    """Half the sum of absolute differences between the distributions of two rows of logits."""
    one, two = np.exp(first - first.max()), np.exp(second - second.max())
    return float(np.abs(one / one.sum() - two / two.sum()).sum()) / 2


def likeliest(row: Row, count: int) -> NDArray[np.int64]:
    """Ids of the `count` greatest finite logits, greatest first; the lower id among equals.

    The count-th greatest maximum of a block is a lower bound of the count-th greatest logit, so
    only logits that reach it need sorting.
    """
    size = row.shape[0]
    # the maxima of a few long blocks take 2 to 4 % of the time of those of many short ones
    blocks = _FEW if 2 * count <= _FEW <= size // _BLOCK else size // _BLOCK
    if blocks > count:
        width = size // blocks
        maxima = row[: blocks * width].reshape(blocks, width).max(axis=1)
        bound = np.partition(maxima, blocks - count)[blocks - count]
        ids = np.flatnonzero(row >= bound)
    else:
        ids = np.arange(size)
    values = row[ids]
    order = np.argsort(-values, kind="stable")[:count]
    order = order[values[order] > -np.inf]
    return ids[order]


class RollingMean:
    """Mean of the last `window` values, or of all while there are fewer."""

    def __init__(self, window: int) -> None:
        if window < 1:
            raise ValueError("a window holds at least one value")
        self._values: deque[float] = deque(maxlen=window)

    def add(self, value: float) -> float:
        """Add a value and return the mean."""
        self._values.append(value)
        return self.value

    @property
    def value(self) -> float:
        """0 before the first value."""
        return sum(self._values) / len(self._values) if self._values else 0.0

    def reset(self) -> None:
        """Forget every value."""
        self._values.clear()
