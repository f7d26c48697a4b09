"""How far rounding moves a model's logits if the same tokens are fed in other forwards."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from adec.engines.base import Engine
from adec.signals import Scores
from adec.tree import ROOT, TokenTree

POSITIONS = 48
"""Tokens of an answer that are fed again."""
CHAINS = (4, 16)
"""Tokens of the forwards that are tried as chains."""
LEVELS = 3
"""Levels of the trees that are tried, with a rival beside each token."""
FARTHEST = 1e30
"""The gap to a token at minus infinity: JSON knows no infinity."""


def logit_gap(scores: Scores, row: int, one: int, other: int) -> float:
    """Logit of a token minus that of another."""
    logits = scores.row(row)
    return float(np.clip(logits[one] - logits[other], -FARTHEST, FARTHEST))


def rounding_noise(large: Engine, prompt: Sequence[int], answer: Sequence[int]) -> float:
    """The largest change of the gap between the two best logits, over the beginning of an answer.

    The tokens are fed one by one, as decoding alone does, and then as chains and as trees, as
    verification does. Of a tree the answer's path is kept, so that the next one fills the cells
    that were freed, out of order. Raises EngineError.
    """
    tokens = answer[:POSITIONS]
    large.rewind(0)
    scores = large.forward(prompt)
    best: list[tuple[int, int]] = []
    gaps: list[float] = []
    for token in tokens:
        (one, _), (other, _) = scores.top(0, 2)
        best.append((one, other))
        gaps.append(logit_gap(scores, 0, one, other))
        scores = large.forward([token])
    noise = 0.0

    def compare(scores: Scores, row: int, place: int) -> float:
        return abs(logit_gap(scores, row, *best[place]) - gaps[place]) if place < len(best) else 0.0

    for size in CHAINS:
        large.rewind(len(prompt))
        for place in range(0, len(tokens), size):
            part = tokens[place : place + size]
            scores = large.forward(part, rows=len(part))
            noise = max([noise, *(compare(scores, i, place + i + 1) for i in range(len(part)))])
    if "tree" in large.capabilities and large.branches > LEVELS:
        large.rewind(len(prompt))
        for place in range(0, len(tokens), LEVELS):
            tree, path, above = TokenTree(), [], ROOT
            for at in range(place, min(place + LEVELS, len(tokens))):
                rival = best[at][1] if best[at][0] == tokens[at] else best[at][0]
                tree.add(above, rival)
                above = tree.add(above, tokens[at])
                path.append(above)
            scores = large.forward_tree(tree)
            changes = [compare(scores, node, place + i + 1) for i, node in enumerate(path)]
            noise = max([noise, *changes])
            large.keep(path)
    large.rewind(0)
    return noise
