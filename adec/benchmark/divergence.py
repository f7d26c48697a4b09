"""Where an exact row's tokens first leave those of the large model alone, and how close the choice was there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from adec.benchmark.samples import Difference
from adec.engines.base import Engine
from adec.signals import Row

FARTHEST = 1e9

NEAR_TIE = 0.05
"""Logits that are closer than this (nats) may swap when a batch of another size rounds differently: float32 sums stay well
below it, half precision and quantised kernels reach it."""


def common(first: Sequence[int], second: Sequence[int]) -> int:
    """Leading tokens that two answers share."""
    for position, (a, b) in enumerate(zip(first, second, strict=False)):
        if a != b:
            return position
    return min(len(first), len(second))


def first_difference(
    large: Engine, prompt: Sequence[int], plain: Sequence[int], other: Sequence[int]
) -> Difference | None:
    """None when the answers are equal. Runs the large model once over what they share. Raises EngineError."""
    if tuple(plain) == tuple(other):
        return None
    position = common(plain, other)
    ends = [tuple(ids[position : position + 1]) for ids in (plain, other)]
    names = [large.vocabulary.name(end[0]) if end else "nothing" for end in ends]
    large.rewind(0)
    scores = large.forward([*prompt, *plain[:position]], rows=1)
    row = scores.row(0)
    best = scores.top(0, 2)
    gap = _gap(row, ends[0][0], ends[1][0]) if all(ends) else None
    best_gap = _gap(row, best[0][0], best[1][0]) if len(best) == 2 else None
    large.rewind(0)
    return Difference(position, names[0], names[1], gap, best_gap)


def _gap(row: Row, one: int, other: int) -> float:
    """Difference of two logits; a token at minus infinity is as far off as JSON can say."""
    return float(np.clip(row[one] - row[other], -FARTHEST, FARTHEST))


def explain(difference: Difference) -> str:
    """A difference in words."""
    where = f"after {difference.position} equal tokens plain writes {difference.plain_token}, this {difference.row_token}"
    if difference.gap is None:
        return f"{where}: one answer ends there"
    words = f"{where}; logit gap {difference.gap:.4g}"
    if abs(difference.gap) < NEAR_TIE:
        return f"{words}: a near tie, which rounding in another batch size explains"
    return f"{words}: more than rounding explains"
