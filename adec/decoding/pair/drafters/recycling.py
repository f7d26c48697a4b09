"""Token Recycling: what the large model nearly said after a token, the last time it came by, is tried again.

Luo et al. 2024, "Turning Trash into Treasure: Accelerating Inference of Large Language Models with Token Recycling", arXiv
2408.08696. A matrix of the likeliest tokens after each token, refreshed from every verified row, those of rejected
branches too; drafts are its breadth-first unrolling.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from adec.decoding.meter import Meter
from adec.decoding.pair.drafters.drafter import Outcome, Proposal
from adec.decoding.pair.growth import Growth
from adec.decoding.pair.shapes import best_first
from adec.decoding.strategy import Limits
from adec.events.records import Step
from adec.signals import likeliest
from adec.tree import ROOT, TokenTree

KEPT = 8
"""Tokens kept for each token (paper: k = 8)."""

RANK_CHANCE = (0.5, 0.15, 0.08, 0.05, 0.04, 0.03, 0.02, 0.02)
"""How often the token of each rank is the one, before anything was seen: our guess in place of the paper's static tree."""


class Recycling:
    """Drafts from the matrix. Needs no model; a few bytes for each token seen."""

    name = "recycling"
    sampled_in_order = False
    streak = 0

    def __init__(self) -> None:
        self._after: dict[int, list[int]] = {}
        self._limits = Limits(0)

    def start(self, prompt: Sequence[int], limits: Limits) -> Iterator[Step]:
        """The matrix is kept from one answer to the next; the prompt's own successions come first for what is new."""
        self._limits = limits
        for token, following in pairwise(prompt):
            row = self._after.setdefault(token, [])
            if following in row:
                row.remove(following)
            row.insert(0, following)
            del row[KEPT:]
        yield from ()

    def propose(self, sequence: Sequence[int], growth: Growth, meter: Meter) -> Proposal:
        last = sequence[-1]

        def successors(tree: TokenTree, node: int) -> list[tuple[int, float]]:
            row = self._after.get(last if node == ROOT else tree.tokens[node], ())
            return list(zip(row, RANK_CHANCE, strict=False))

        grown = best_first(growth, successors, self._limits.end)
        return Proposal(grown.tree, [self.name] * len(grown.tree), grown.chances)

    def learn(self, outcome: Outcome) -> None:
        before = [outcome.sequence[outcome.base - 1], *outcome.proposal.tree.tokens]
        for row, token in enumerate(before):
            self._after[token] = likeliest(outcome.scores.row(row), KEPT).tolist()
