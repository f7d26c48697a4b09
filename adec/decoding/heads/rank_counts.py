"""How often the likeliest tokens of a row that foresees are right, by distance and rank."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from adec.decoding.heads.noted_mean import NotedMean
from adec.decoding.heads.prompt_trees import Accuracy

RANKS = 10
"""Likeliest tokens of a row that may be drafted, as in PPD's paper."""
TRUST, MEMORY = 60.0, 240.0
"""Trials that what was counted beforehand weighs, and that are remembered at most."""
NEXT = 0.5
"""Of what the first rank leaves, the share that the second is taken to find, and so on: ppd on a
small model found 33 % and then 50 of the other 67 in nine ranks, so this is cautious."""


def accuracy_of_rates(rates: Sequence[float]) -> Accuracy:
    """By distance and rank, where only the rates of the likeliest tokens are known."""
    found = np.zeros((len(rates), RANKS))
    for distance, rate in enumerate(rates):
        found[distance, 0] = rate
        # no second rank is likelier than the first
        second = min(rate, NEXT * (1 - rate) * rate)
        found[distance, 1:] = second * NEXT ** np.arange(RANKS - 1)
    return found


class RankCounts:
    """How often the j-th likeliest token at a distance was the one that was written."""

    def __init__(self, prior: Accuracy) -> None:
        self._shares = [NotedMean(shares, trust=TRUST, memory=MEMORY) for shares in prior]
        self._ranks = prior.shape[1]
        # rows whose tokens are not all known yet: where the first one stands, and ids by distance
        self._waiting: list[tuple[int, list[list[int]]]] = []

    @property
    def accuracy(self) -> Accuracy:
        """By distance and rank."""
        return np.stack([shares.value for shares in self._shares])

    def new_answer(self) -> None:
        """Forget rows of the answer before."""
        self._waiting.clear()

    def soften(self) -> None:
        """Go half of the way back to what was counted beforehand: the text may be another one."""
        for shares in self._shares:
            shares.soften()

    def foresee(self, position: int, ids: list[list[int]]) -> None:
        """The row at distance d says `ids[d]`, likeliest first, of position `position` + d."""
        if ids:
            self._waiting.append((position, ids))

    def observe(self, sequence: Sequence[int]) -> None:
        """Count what the sequence has shown to be right or wrong."""
        waiting = []
        for position, ids in self._waiting:
            if position + len(ids) > len(sequence):
                waiting.append((position, ids))
                continue
            for distance, likeliest in enumerate(ids):
                hits = np.zeros(self._ranks)
                token = sequence[position + distance]
                if token in likeliest:
                    hits[likeliest.index(token)] = 1
                self._shares[distance].add(hits)
        self._waiting = waiting
