"""What drafts are drawn from, and by which numbers: sparse laws, coins and draws.

Coins and draws stand behind one small interface. A run takes them from its seed; a test walks
through every outcome with exact fractions (`tests/decoding/enumeration.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from adec.sampling import Sampler, draw, uniform
from adec.signals import Row, likeliest

Weights = NDArray[Any]
"""Shape (n,), none negative, of any positive sum: float64 in a run, `object` for fractions in a
proof."""

HEAD = 64
"""Tokens that a law keeps. At temperature 1 the tail beyond 64 of a row worth drafting from holds
well under 1 %."""


@dataclass(slots=True)
class Law:
    """The sparse distribution that a draft token is drawn from.

    A drafter may propose by any law as long as the verifier knows which one, so a law keeps the
    likeliest `HEAD` tokens only: finding those costs a fifth of what sorting a row of 32,000 logits
    costs, and rejection then touches these entries alone.
    """

    ids: NDArray[np.int64]
    """Shape (n,), ascending."""
    probabilities: Weights
    """Shape (n,), with sum 1."""

    def index(self, token: int) -> int | None:
        """Where a token stands in `ids`; None when the law never draws it."""
        place = int(np.searchsorted(self.ids, token))
        return place if place < self.ids.shape[0] and self.ids[place] == token else None


def law_of(row: Row, sampler: Sampler) -> Law:
    """The law of a draft: the sampler's warpers in its order, on the `HEAD` likeliest tokens."""
    if sampler.greedy:
        return Law(np.array([int(row.argmax())]), np.ones(1))
    count = min(HEAD, sampler.top_k) if sampler.top_k else HEAD
    ids = likeliest(row, count)
    logits = row[ids].astype(np.float64)
    keep = ids.shape[0]
    if sampler.top_p < 1:
        whole = logits if sampler.top_k else row
        weights = np.exp(logits - logits[0])
        weights /= float(np.exp(whole - whole.max()).sum())
        keep = max(1, int(np.count_nonzero(np.cumsum(weights) - weights < sampler.top_p)))
    if sampler.min_p > 0:
        keep = min(keep, int(np.count_nonzero(np.exp(logits - logits[0]) >= sampler.min_p)))
    ids, logits = ids[:keep], logits[:keep]
    weights = np.exp((logits - logits[0]) / sampler.temperature)
    order = np.argsort(ids)
    return Law(ids[order], (weights / weights.sum())[order])


class Chance(Protocol):
    """Where coins and draws come from."""

    def below(self, probability: Any) -> bool:
        """True with this probability; a value of 1 or more is certain."""
        ...

    def draw(self, weights: Weights) -> int:
        """An index, each with a probability in proportion to its weight."""
        ...


class SeededChance:
    """The numbered coins and draws of a round, given by the seed and the round's first position.

    Rounds begin at different positions, so no two acts of an answer share a number. If a position
    that is drafted twice reused a draw, what is committed would depend on a draft that was dropped.
    Stream 0 belongs to `Sampler.pick`.
    """

    def __init__(self, seed: int, position: int, *, first: int = 0) -> None:
        """`first`: where numbering starts; a drafter's and a verifier's numbers must differ."""
        self._seed = seed
        self._position = position
        self._stream = first

    def below(self, probability: Any) -> bool:
        return self._next() < float(probability)

    def draw(self, weights: Weights) -> int:
        return draw(weights, self._next())

    def _next(self) -> float:
        self._stream += 1
        return uniform(self._seed, self._position, self._stream)
