"""How the large model's rows judge a proposal: the rules of `acceptance`, bound to a run's sampler and signals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from adec.decoding.pair.acceptance import (
    Pick,
    Verdict,
    follow_the_mixture,
    follow_the_target,
    match_loosely,
    reject_without_replacement,
    roll_back,
    total_variation,
)
from adec.decoding.pair.chance import Chance, SeededChance
from adec.decoding.pair.drafters.drafter import Proposal
from adec.decoding.strategy import Limits
from adec.events.records import Guarantee
from adec.signals import Row, Scores


class Verifier(Protocol):
    """Judges a proposal by the large model's rows: row 0 follows the trunk's end, row 1 + i follows node i."""

    @property
    def guarantee(self) -> Guarantee: ...

    @property
    def chains_only(self) -> bool:
        """Whether it can judge only trees without branches."""
        ...

    @property
    def in_order(self) -> bool:
        """Whether siblings are tried one after another, so that those after the accepted one are never judged."""
        ...

    def judge(self, proposal: Proposal, scores: Scores, base: int, limits: Limits) -> Verdict:
        """`base`: position of the first token that the proposal is about."""
        ...


class FollowTarget:
    """The target's own draws; exact for every tree, and token by token those of plain decoding with the same seed."""

    guarantee = Guarantee.EXACT
    chains_only = False
    in_order = False

    def judge(self, proposal: Proposal, scores: Scores, base: int, limits: Limits) -> Verdict:
        if len(proposal) == 0:
            return Verdict((), limits.sampler.pick(scores, 0, base), True)
        return follow_the_target(proposal.tree, picks(scores, base, limits), limits.end)


class Rejection:
    """Rejection without replacement; exact in distribution, for trees sampled in order only."""

    guarantee = Guarantee.EXACT
    chains_only = False
    in_order = True

    def __init__(self, chance: Callable[[int, int], Chance] | None = None) -> None:
        """`chance`: from seed and position to the coins of a round; a proof brings its own."""
        self._chance = chance or _verifying

    def judge(self, proposal: Proposal, scores: Scores, base: int, limits: Limits) -> Verdict:
        if limits.sampler.greedy:
            # all mass on one token: it is accepted for certain, any other never; no row needs to be summed for that
            return follow_the_target(proposal.tree, picks(scores, base, limits), limits.end)
        return reject_without_replacement(
            proposal.tree,
            proposal.laws,
            lambda node: limits.sampler.distribution(scores.row(node + 1)),
            self._chance(limits.sampler.seed, base),
            limits.end,
        )


def _verifying(seed: int, position: int) -> SeededChance:
    """Coins of the verifier, apart from the drafter's draws at the same position."""
    return SeededChance(seed, position, first=1 << 20)


@dataclass(frozen=True, slots=True)
class Cascade:
    """Speculative cascades: the small model's law stands where the deferral rule trusts it.

    Rules, with `alpha` as the paper writes it: chow defers when max q < 1 - alpha; difference when
    max q < max p - alpha; optimal when max q < max p - alpha * TV(p, q). Probabilities are at temperature 1, before warpers.
    """

    rule: Literal["chow", "difference", "optimal"]
    alpha: float
    guarantee: Guarantee = Guarantee.APPROXIMATE
    chains_only: bool = True
    in_order: bool = False

    def judge(self, proposal: Proposal, scores: Scores, base: int, limits: Limits) -> Verdict:
        def defers(node: int) -> bool:
            small, row = proposal.rows[node]
            return self._defers(small, row, scores, node + 1)

        def draft_pick(node: int, depth: int) -> int:
            small, row = proposal.rows[node]
            return limits.sampler.pick(small, row, base + depth)

        return follow_the_mixture(
            proposal.tree, defers, picks(scores, base, limits), draft_pick, limits.end
        )

    def _defers(self, small: Scores, row: int, large: Scores, other_row: int) -> bool:
        """Whether the large model's law counts for the token that both rows predict."""
        sure = small.probability(row, small.argmax(row))
        if self.rule == "chow":
            return sure < 1 - self.alpha
        other = large.probability(other_row, large.argmax(other_row))
        if self.rule == "difference":
            return sure < other - self.alpha
        if not other - self.alpha <= sure < other:
            return (
                sure < other
            )  # a total variation lies between 0 and 1: its value makes no difference
        p, q = _probabilities(large.row(other_row)), _probabilities(small.row(row))
        distance = total_variation(p, q)
        return sure < other - self.alpha * distance


@dataclass(frozen=True, slots=True)
class Loose:
    """FLy: a lone mismatch stands when the next `window - 1` drafts agree and the target leaves room for another word.

    `gate`: least entropy of the target's row (nats) at which it leaves room; 0: always.
    """

    window: int
    gate: float
    guarantee: Guarantee = Guarantee.APPROXIMATE
    chains_only: bool = True
    in_order: bool = False

    def judge(self, proposal: Proposal, scores: Scores, base: int, limits: Limits) -> Verdict:
        def loose(node: int) -> bool:
            return self.gate <= 0 or scores.entropy(node + 1) >= self.gate

        return match_loosely(
            proposal.tree.tokens, picks(scores, base, limits), self.window, limits.end, loose
        )


@dataclass(frozen=True, slots=True)
class RollBack:
    """BiLD: the draft falls from the first token on whose -log p under the large model is above `threshold` nats."""

    threshold: float
    guarantee: Guarantee = Guarantee.APPROXIMATE
    chains_only: bool = True
    in_order: bool = False

    def judge(self, proposal: Proposal, scores: Scores, base: int, limits: Limits) -> Verdict:
        tokens = proposal.tree.tokens

        def surprise(node: int) -> float:
            probability = scores.probability(node, tokens[node])
            return -float(np.log(probability)) if probability > 0 else float("inf")

        return roll_back(tokens, surprise, self.threshold, picks(scores, base, limits), limits.end)


def picks(scores: Scores, base: int, limits: Limits) -> Pick:
    """The target's token after a node, drawn as plain decoding draws it at that position."""
    return lambda node, depth: limits.sampler.pick(scores, node + 1, base + depth)


def _probabilities(row: Row) -> Row:
    weights = np.exp(row - row.max())
    result: Row = weights / weights.sum()
    return result
