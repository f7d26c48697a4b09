"""What stands of a proposal given the large model's rows: laws of acceptance, and verifiers.

    follow_the_target            exact for every tree: the target draws, and a draft that equals the
                                 draw saves a forward
    reject_without_replacement   exact for trees sampled in order, and accepts more (SpecInfer,
                                 Sequoia, DySpec)

A law is a pure function of rows and trees. A verifier binds one to a run's sampler. The laws of
approximate methods stand in their own files: `cascade.py`, `fly.py`, `bild.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from adec.decoding.pair.drafters.drafter import Accepted, Proposal
from adec.decoding.pair.drafters.draws import Chance, Law, SeededChance, Weights
from adec.decoding.strategy import Limits
from adec.events.records import Guarantee, TreeRecord
from adec.signals import Scores
from adec.tree import ROOT, TokenTree

_NOTHING = 1e-12
"""Residual mass below this is a rounding error: a genuine rejection leaves so little less often
than once in 1e12."""

Pick = Callable[[int, int], int]
"""(node, depth) to the target's token after that node; ROOT and depth 0 stand for the trunk's
end."""


# ---- laws


def follow_the_target(tree: TokenTree, pick: Pick, end: Collection[int]) -> Accepted:
    """The target's own draws, as far as the tree foresaw them. Exact for any tree.

    The tree only says which forwards have been done already; it has no say in any token.
    """
    children = _children(tree)
    path: list[int] = []
    node = ROOT
    while True:
        token = pick(node, len(path))
        below = children.get(node, ())
        child = next((child for child in below if tree.tokens[child] == token), None)
        if child is None:
            return Accepted(tuple(path), token, not below)
        path.append(child)
        if token in end:
            return Accepted(tuple(path), None, True)
        node = child


def reject_without_replacement(
    tree: TokenTree,
    laws: Mapping[int, Law],
    target: Callable[[int], Weights],
    chance: Chance,
    end: Collection[int],
) -> Accepted:
    """Try the children of a node one after another, each against what is left of the target.

    `laws[node]` is the law that the first child of `node` was drawn from; each later child was
    drawn from it with the earlier ones zeroed out. `target(node)` gives fresh weights, shape
    (vocabulary,). This is algorithm 3 of DySpec (arXiv 2410.11744) with its misprints mended: the
    coin is uniform, and a node without children gives a bonus token.

    Raises ValueError for a tree that was not sampled in order: the rule would be wrong there by a
    total variation of up to 0.3.
    """
    if len(tree) and not tree.sampled_in_order:
        raise ValueError("rejection without replacement needs a tree that was sampled in order")
    children = _children(tree)
    path: list[int] = []
    node = ROOT
    while True:
        left = target(node)
        below = children.get(node, ())
        accepted = _try_children(tree, below, laws[node], left, chance) if below else None
        if accepted is None:
            return Accepted(tuple(path), chance.draw(left), not below)
        path.append(accepted)
        if tree.tokens[accepted] in end:
            return Accepted(tuple(path), None, True)
        node = accepted


def _try_children(
    tree: TokenTree, children: Sequence[int], law: Law, left: Weights, chance: Chance
) -> int | None:
    """The child that is accepted. `left` becomes the residual of the target after the others."""
    draft = law.probabilities.copy()
    mass, drafted = left.sum(), draft.sum()
    for child in children:
        token = tree.tokens[child]
        place = law.index(token)
        if place is None or not draft[place] > 0:
            raise ValueError(f"token {token} cannot have been drawn from the law given for it")
        if chance.below((left[token] / mass) / (draft[place] / drafted)):
            return child
        # max(left/mass - draft/drafted, 0), times mass: only the law's own tokens can lose
        lost = np.minimum(left[law.ids], draft * (mass / drafted))
        if mass - lost.sum() <= _NOTHING:
            # both laws are equal: rejecting had probability zero and rounding did it
            return child
        left[law.ids] -= lost
        mass -= lost.sum()
        draft[place] = 0 * draft[place]
        drafted = draft.sum()
        if not drafted > 0:
            break
    return None


def tree_record(tree: TokenTree, accepted: Accepted) -> TreeRecord:
    """A tree and what stands of it, as a step records them."""
    return TreeRecord(
        tuple(tree.tokens), tuple(tree.parents), tuple(tree.probabilities), accepted.path
    )


def _children(tree: TokenTree) -> dict[int, list[int]]:
    """The children of every node that has any, in the order in which they were added."""
    children: dict[int, list[int]] = {}
    for node, parent in enumerate(tree.parents):
        children.setdefault(parent, []).append(node)
    return children


# ---- verifiers


class Verifier(ABC):
    """Judges a proposal by the large model's rows: row 0 follows the trunk's end, row 1 + i node i.

    The defaults are those of the approximate methods.
    """

    guarantee = Guarantee.APPROXIMATE
    chains_only = True
    """Whether it can judge only trees without branches."""
    in_order = False
    """Whether it tries siblings in turn, and so never judges those after the accepted one."""

    @abstractmethod
    def judge(self, proposal: Proposal, scores: Scores, base: int, limits: Limits) -> Accepted:
        """What stands; `base` is the position of the first token that the proposal is about."""


class FollowTarget(Verifier):
    """The target's own draws: exact, and with the same seed the very tokens of plain decoding."""

    guarantee = Guarantee.EXACT
    chains_only = False

    def judge(self, proposal: Proposal, scores: Scores, base: int, limits: Limits) -> Accepted:
        if len(proposal) == 0:
            return Accepted((), limits.sampler.pick(scores, 0, base), True)
        return follow_the_target(proposal.tree, picks(scores, base, limits), limits.end)


class Rejection(Verifier):
    """Rejection without replacement: exact in distribution, for trees sampled in order only."""

    guarantee = Guarantee.EXACT
    chains_only = False
    in_order = True

    def judge(self, proposal: Proposal, scores: Scores, base: int, limits: Limits) -> Accepted:
        if limits.sampler.greedy:
            # all mass is on one token, which is accepted for certain: no row has to be summed
            return follow_the_target(proposal.tree, picks(scores, base, limits), limits.end)
        return reject_without_replacement(
            proposal.tree,
            proposal.laws,
            lambda node: limits.sampler.distribution(scores.row(node + 1)),
            # numbered apart from the drafter's draws of the same round
            SeededChance(limits.sampler.seed, base, first=1 << 20),
            limits.end,
        )


def picks(scores: Scores, base: int, limits: Limits) -> Pick:
    """The target's token after a node, drawn as plain decoding draws it at that position."""
    return lambda node, depth: limits.sampler.pick(scores, node + 1, base + depth)
