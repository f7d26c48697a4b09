"""The law a draft token is drawn from: a sparse distribution of a model's row, after the run's warpers.

A drafter may propose by any law as long as the verifier is told which. So a law keeps the likeliest `HEAD` tokens
only: finding those costs a fifth of what sorting a row of 32,000 logits costs, and rejection then touches these entries alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adec.sampling import Sampler
from adec.signals import Row, likeliest

HEAD = 64
"""Tokens that a law keeps. At temperature 1 the tail beyond 64 of a row worth drafting from holds well under 1 %."""


@dataclass(slots=True)
class Law:
    """`ids` in ascending order and their probabilities, shape (n,) each. Probabilities sum to 1."""

    ids: NDArray[np.int64]
    probabilities: NDArray[Any]

    def index(self, token: int) -> int | None:
        """Where a token stands in `ids`; None when the law never draws it."""
        place = int(np.searchsorted(self.ids, token))
        return place if place < self.ids.shape[0] and self.ids[place] == token else None


def law_of(row: Row, sampler: Sampler) -> Law:
    """The law of a draft under `sampler`: all its warpers in its order, on the `HEAD` likeliest tokens."""
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
        keep = int(np.count_nonzero(np.cumsum(weights) - weights < sampler.top_p))
    if sampler.min_p > 0:
        keep = min(keep, int(np.count_nonzero(np.exp(logits - logits[0]) >= sampler.min_p)))
    ids, logits = ids[:keep], logits[:keep]
    weights = np.exp((logits - logits[0]) / sampler.temperature)
    order = np.argsort(ids)
    return Law(ids[order], (weights / weights.sum())[order])


def at_temperature(sampler: Sampler, temperature: float | None) -> Sampler:
    """`sampler` for the draft side: the same warpers, another temperature unless None."""
    return sampler if temperature is None else replace(sampler, temperature=temperature)
