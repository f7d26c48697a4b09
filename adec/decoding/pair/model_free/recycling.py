"""Token Recycling: draft what the large model nearly said before, no second model.

Luo et al. 2024, "Turning Trash into Treasure: Accelerating Inference of Large Language Models with
Token Recycling", arXiv 2408.08696. A matrix of the likeliest tokens after each token is refreshed
from every verified row, also of rejected branches; drafts are its breadth-first unrolling.

What is different here: in place of the paper's static tree of about 80 nodes, nodes go by their
chance, which is a guess by rank until acceptance has been counted, and the tree is as large as the
clock allows. A token that no forward has passed yet has its successors in the prompt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from adec.decoding.meter import Meter
from adec.decoding.pair.draft_verify import DraftVerify
from adec.decoding.pair.drafters.drafter import Drafter, Outcome, Proposal
from adec.decoding.pair.drafters.growth import Growth
from adec.decoding.pair.drafters.shapes import best_first
from adec.decoding.pair.wiring import one_drafter
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids, Limits
from adec.engines.pair import Engines
from adec.events.records import Step
from adec.signals import likeliest
from adec.tree import ROOT, TokenTree

KEPT = 8
"""Tokens kept for each token (paper: k = 8)."""

RANK_CHANCE = (0.5, 0.15, 0.08, 0.05, 0.04, 0.03, 0.02, 0.02)
"""How often the token of each rank is the one, before anything was seen: our guess in place of the
paper's static tree."""


class Recycling(Drafter):
    """Drafts from the matrix, which takes a few bytes for each token seen."""

    name = "recycling"
    needs_every_round = False  # learning row by row takes time that shows where a forward is short

    def __init__(self) -> None:
        self._after: dict[int, list[int]] = {}

    def start(self, prompt: Sequence[int], limits: Limits) -> Iterator[Step]:
        """Keep the matrix of earlier answers, and put what follows in the prompt first."""
        for token, following in pairwise(prompt):
            row = self._after.setdefault(token, [])
            if following in row:
                row.remove(following)
            row.insert(0, following)
            del row[KEPT:]
        yield from super().start(prompt, limits)

    def propose(self, sequence: Sequence[int], growth: Growth, meter: Meter) -> Proposal:
        last = sequence[-1]

        def successors(tree: TokenTree, node: int) -> list[tuple[int, float]]:
            row = self._after.get(last if node == ROOT else tree.tokens[node], ())
            return list(zip(row, RANK_CHANCE, strict=False))

        grown = best_first(growth, successors, self.limits.end)
        return Proposal(grown.tree, [self.name] * len(grown.tree), grown.chances)

    def learn(self, outcome: Outcome) -> None:
        before = [outcome.sequence[outcome.base - 1], *outcome.proposal.tree.tokens]
        for row, token in enumerate(before):
            self._after[token] = likeliest(outcome.scores.row(row), KEPT).tolist()


@dataclass(frozen=True, slots=True)
class RecyclingSettings:
    """`--set recycling.NAME=VALUE`."""

    budget: int = setting(80, "nodes of a tree at most (paper: about 80)", least=1, most=256)
    size: Literal["time", "fixed"] = setting(
        "time", "time: grow while tokens per millisecond rise. fixed: always the budget (the paper)"
    )


def build(engines: Engines, settings: RecyclingSettings, aids: Aids) -> DraftVerify:
    """Token Recycling on the large model alone."""
    name, paper, budget = "recycling", "arXiv 2408.08696", settings.budget
    return one_drafter(name, paper, engines, aids, Recycling(), budget, size=settings.size)
