"""How sure a model is of its next token: signals of a row of logits. Entropies are in nats."""

from __future__ import annotations

from collections import deque
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Row = NDArray[np.float32]

_BLOCK = 128


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
    """Ids of the `count` greatest finite logits, greatest first; the lower id among equals.

    The count-th greatest maximum of a block is a lower bound of the count-th greatest logit, so
    only logits that reach it need sorting.
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


class ListedSignals:
    """Signals of recorded rows: the entropy of the whole row and a list of its likeliest tokens.

    `entropies` has shape (rows,), in nats; `ids` and `probabilities` have shape (rows, listed),
    likeliest first. A row that had fewer possible tokens repeats its last one. A token that is not
    listed has probability 0 here, which is a lower bound.
    """

    __slots__ = ("_entropies", "_ids", "_probabilities")

    def __init__(
        self,
        entropies: NDArray[np.float64],
        ids: NDArray[np.float64],
        probabilities: NDArray[np.float64],
    ) -> None:
        if ids.shape != probabilities.shape or ids.shape[:1] != entropies.shape or not ids.shape[1]:
            raise ValueError(
                f"entropies {entropies.shape}, ids {ids.shape} and probabilities"
                f" {probabilities.shape} are not columns of the same rows"
            )
        self._entropies = entropies
        self._ids = ids
        self._probabilities = probabilities

    def __len__(self) -> int:
        return len(self._entropies)

    def argmax(self, index: int) -> int:
        return int(self._ids[index, 0])

    def top(self, index: int, count: int) -> list[tuple[int, float]]:
        listed = zip(self._ids[index].tolist(), self._probabilities[index].tolist(), strict=True)
        first: dict[int, float] = {}
        for token, probability in listed:
            first.setdefault(int(token), probability)
        return list(first.items())[:count]

    def entropy(self, index: int) -> float:
        return float(self._entropies[index])

    def margin(self, index: int) -> float:
        best, *others = self.top(index, 2)
        return best[1] - others[0][1] if others else best[1]

    def probability(self, index: int, token: int) -> float:
        return dict(self.top(index, self._ids.shape[1])).get(token, 0.0)


class ListedScores(ListedSignals):
    """Recorded rows made whole: the probability that the list leaves over is spread evenly.

    It goes to the tokens of the vocabulary that are not listed. Rows are built only when they are
    asked for, so a rule that reads signals alone costs nothing that depends on the vocabulary.
    """

    __slots__ = ("_size",)

    def __init__(
        self,
        entropies: NDArray[np.float64],
        ids: NDArray[np.float64],
        probabilities: NDArray[np.float64],
        *,
        size: int,
    ) -> None:
        """`size`: tokens in the vocabulary."""
        super().__init__(entropies, ids, probabilities)
        self._size = size

    def probability(self, index: int, token: int) -> float:
        listed = dict(self.top(index, self._ids.shape[1]))
        return listed.get(token, self._left_over(listed))

    def row(self, index: int) -> Row:
        listed = dict(self.top(index, self._ids.shape[1]))
        row = np.full(self._size, self._left_over(listed))
        row[list(listed)] = list(listed.values())
        logits: Row = np.log(np.maximum(row, 1e-12)).astype(np.float32)
        return logits

    def _left_over(self, listed: dict[int, float]) -> float:
        return max(0.0, 1 - sum(listed.values())) / max(1, self._size - len(listed))


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
