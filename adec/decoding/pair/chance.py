"""The two random acts of speculation, a coin and a draw, behind one small interface.

A test can then walk through every outcome with exact fractions (`tests/decoding/enumeration.py`); a run draws from the
seed.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from adec.sampling import uniform

Weights = NDArray[Any]
"""Shape (n,), not negative, of any positive sum: float64 in a run, `object` holding fractions in a proof."""


class Chance(Protocol):
    """Where coins and draws come from."""

    def below(self, probability: Any) -> bool:
        """True with this probability; a value of 1 or more is certain."""
        ...

    def draw(self, weights: Weights) -> int:
        """An index, each with a probability in proportion to its weight."""
        ...


class SeededChance:
    """One round's coins and draws: they depend on the seed, the round's first position and their number in the round.

    Rounds begin at different positions, so no two acts of an answer share a number. Were a draw reused for a position that is
    drafted twice, what is committed would depend on a draft that was dropped. Stream 0 belongs to `Sampler.pick`.
    """

    def __init__(self, seed: int, position: int, *, first: int = 0) -> None:
        """`first`: acts numbered from here on; a drafter's and a verifier's must not share numbers."""
        self._seed = seed
        self._position = position
        self._stream = first

    def below(self, probability: Any) -> bool:
        return self._next() < float(probability)

    def draw(self, weights: Weights) -> int:
        return place(weights, self._next())

    def _next(self) -> float:
        self._stream += 1
        return uniform(self._seed, self._position, self._stream)


_BLOCK = 128
_LONG = 16 * _BLOCK
"""Weights from which on blocks are summed first: a running sum of 32,000 weights takes ten times as long."""


def place(weights: Weights, number: float) -> int:
    """Where the running sum of `weights` passes `number`, a share of their sum in [0, 1)."""
    size = weights.shape[0]
    if size < _LONG:
        return _place(weights, number)
    blocks = size // _BLOCK
    sums = np.add.reduceat(weights, np.arange(0, blocks * _BLOCK, _BLOCK))
    running = np.cumsum(sums, dtype=np.float64)
    passed = number * running[-1]
    block = min(int(np.searchsorted(running, passed, side="right")), blocks - 1)
    while not sums[block] > 0:  # rounding can carry the number past the last block that has weight
        block -= 1
    begin, end = block * _BLOCK, size if block == blocks - 1 else (block + 1) * _BLOCK
    inside = (passed - (running[block] - sums[block])) / sums[block]
    return int(begin + _place(weights[begin:end], min(max(inside, 0.0), 1.0)))


def _place(weights: Weights, number: float) -> int:
    sums = np.cumsum(weights)
    index = int(np.searchsorted(sums, number * sums[-1], side="right"))
    if index >= weights.shape[0] or not weights[index] > 0:
        # rounding can carry the number past the last weight that is not zero
        index = int(np.flatnonzero(weights)[-1])
    return index
