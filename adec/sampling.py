"""From one row of logits to one token: temperature, top-k, top-p, min-p, and seeded draws.

The draw at a position depends on the seed, the position and the row alone. A run that verifies
drafts therefore draws at each position what the same run without drafts would have drawn: with one
seed, an exact strategy gives the same tokens as plain decoding, not just the same distribution.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adec.errors import UsageError
from adec.signals import Row, Scores

_MASK = (1 << 64) - 1
_BLOCK = 128
_LONG = 16 * _BLOCK
"""From so many weights on, `draw` sums blocks first: it is ten times as fast on 32,000."""


@dataclass(frozen=True, slots=True)
class Sampler:
    """How a token is chosen. Temperature 0 is greedy; the other warpers then change nothing.

    Warpers apply in llama.cpp's order: top-k, top-p, min-p, temperature. `top_k=0`, `top_p=1` and
    `min_p=0` are off; `top_p=0` leaves the likeliest token alone. Raises
    UsageError for values out of range.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for ok, what in (
            (0 <= self.temperature <= 100, f"--temp {self.temperature} is not between 0 and 100"),
            (self.top_k >= 0, f"--top-k {self.top_k} is below 0"),
            (0 <= self.top_p <= 1, f"--top-p {self.top_p} is not between 0 and 1"),
            (0 <= self.min_p <= 1, f"--min-p {self.min_p} is not between 0 and 1"),
            (
                0 <= self.seed <= _MASK,
                f"--seed {self.seed} is neither between 0 and 2^64 - 1 nor -1, which is a new one",
            ),
        ):
            if not ok:  # NaN fails every comparison, so it lands here too
                raise UsageError(what)

    @property
    def greedy(self) -> bool:
        return self.temperature == 0

    def distribution(self, row: Row) -> NDArray[np.float64]:
        """Probabilities after all warpers, shape (vocabulary,); one-hot when greedy."""
        if self.greedy:
            probabilities = np.zeros(row.shape[0])
            probabilities[int(row.argmax())] = 1.0
            return probabilities
        size = row.shape[0]
        alive = np.arange(size)
        if 0 < self.top_k < size:
            # exactly k survive, ties by lower id; a partition costs a tenth of a sort
            least = np.partition(row, size - self.top_k)[size - self.top_k]
            above = np.flatnonzero(row > least)
            level = np.flatnonzero(row == least)[: self.top_k - above.shape[0]]
            alive = np.sort(np.concatenate([above, level]))
        logits = row[alive].astype(np.float64)
        if self.top_p < 1:
            weights = _softmax(logits)
            # what is left out of the sort holds less than half of the mass that top-p drops
            likely = np.flatnonzero(weights > (1 - self.top_p) / (2 * weights.shape[0]))
            order = likely[np.argsort(-logits[likely], kind="stable")]
            before = np.cumsum(weights[order]) - weights[order]
            kept = np.sort(order[: max(1, int(np.count_nonzero(before < self.top_p)))])
            alive, logits = alive[kept], logits[kept]
        if self.min_p > 0:
            weights = np.exp(logits - logits.max())
            kept = np.flatnonzero(weights >= self.min_p)
            alive, logits = alive[kept], logits[kept]
        result = np.zeros(size)
        result[alive] = _softmax(logits / self.temperature)
        return result

    def pick(self, scores: Scores, index: int, position: int) -> int:
        """The token of row `index`, which predicts the token at `position` of the sequence."""
        if self.greedy:
            return scores.argmax(index)
        return draw(self.distribution(scores.row(index)), uniform(self.seed, position))


def draw(weights: NDArray[np.floating[Any]], u: float) -> int:
    """The index at which the running sum of `weights` passes the share `u` of their sum.

    `weights` has shape (n,), is not negative and has a positive sum; 0 <= u < 1.
    """
    size = weights.shape[0]
    if size < _LONG:
        return _draw(weights, u)
    blocks = size // _BLOCK
    sums = np.add.reduceat(weights, np.arange(0, blocks * _BLOCK, _BLOCK))
    running = np.cumsum(sums, dtype=np.float64)
    passed = u * running[-1]
    block = min(int(np.searchsorted(running, passed, side="right")), blocks - 1)
    while not sums[block] > 0:  # rounding can carry u past the last block that has weight
        block -= 1
    begin, end = block * _BLOCK, size if block == blocks - 1 else (block + 1) * _BLOCK
    inside = (passed - (running[block] - sums[block])) / sums[block]
    return int(begin + _draw(weights[begin:end], min(max(inside, 0.0), 1.0)))


def _draw(weights: NDArray[np.floating[Any]], u: float) -> int:
    sums = np.cumsum(weights, dtype=np.float64)
    index = int(np.searchsorted(sums, u * sums[-1], side="right"))
    if index >= weights.shape[0] or not weights[index] > 0:
        # rounding can carry u past the last weight that is not zero
        index = int(np.flatnonzero(weights)[-1])
    return index


def uniform(seed: int, position: int, stream: int = 0) -> float:
    """A number in [0, 1) that depends on nothing but its arguments.

    SplitMix64's finaliser, applied once for each word (Steele, Lea and Flood 2014, "Fast splittable
    pseudorandom number generators"). `stream` separates several draws at one position.
    """
    state = _mix(seed & _MASK)
    state = _mix((state + position) & _MASK)
    if stream:
        state = _mix((state + stream) & _MASK)
    return (state >> 11) * 2.0**-53


def fresh_seed() -> int:
    """A random seed, short enough to type again."""
    return secrets.randbelow(2**31)


def _mix(word: int) -> int:
    word = (word + 0x9E3779B97F4A7C15) & _MASK
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _MASK
    return word ^ (word >> 31)


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    exponentials = np.exp(logits - logits.max())
    result: NDArray[np.float64] = exponentials / exponentials.sum()
    return result
