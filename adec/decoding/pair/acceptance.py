"""What becomes of a proposal once the large model's rows are known. Pure functions on rows and trees.

    follow_the_target            exact for every tree: the target draws, and a child that equals the draw saves a forward
    reject_without_replacement   exact for trees sampled in order (SpecInfer, Sequoia, DySpec); accepts more
    follow_the_mixture           speculative cascades: exact for a mixture of both models that a deferral rule chooses
    match_loosely                FLy: a lone disagreement may stand
    roll_back                    BiLD: only a grave disagreement falls

Every verdict is a path of the tree and the large model's own token after it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adec.decoding.pair.chance import Chance, Weights
from adec.decoding.pair.law import Law
from adec.tree import ROOT, TokenTree

_NOTHING = 1e-12
"""Residual mass that is rounding: a rejection that leaves less than this happens less often than that."""

Pick = Callable[[int, int], int]
"""(node, depth) to the target's token after that node; node ROOT and depth 0 are the trunk's end."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The accepted nodes from the top down, and the token after them: None when the path ends in an end token."""

    path: tuple[int, ...]
    token: int | None
    bonus: bool
    """Whether the token follows a path that was accepted to its leaf, rather than replaces a draft."""


class Branches:
    """The children of every node, found once."""

    def __init__(self, tree: TokenTree) -> None:
        self._of: dict[int, list[int]] = {}
        for node, parent in enumerate(tree.parents):
            self._of.setdefault(parent, []).append(node)

    def __getitem__(self, node: int) -> Sequence[int]:
        return self._of.get(node, ())


def follow_the_target(tree: TokenTree, pick: Pick, end: Collection[int]) -> Verdict:
    """The target's own draws, as far as the tree foresaw them. Exact for any tree.

    The draft only says which forwards were already done; it has no say in any token.
    """
    branches = Branches(tree)
    path: list[int] = []
    node = ROOT
    while True:
        token = pick(node, len(path))
        child = next((c for c in branches[node] if tree.tokens[c] == token), None)
        if child is None:
            return Verdict(tuple(path), token, not branches[node])
        path.append(child)
        if token in end:
            return Verdict(tuple(path), None, True)
        node = child


def reject_without_replacement(
    tree: TokenTree,
    laws: Mapping[int, Law],
    target: Callable[[int], Weights],
    chance: Chance,
    end: Collection[int],
) -> Verdict:
    """Try the children of a node one after another, each against what is left of the target.

    `laws[node]` is the law that the first child of `node` was drawn from; each next one was drawn from it with the earlier ones
    zeroed out. `target(node)` gives fresh weights over the vocabulary. DySpec algorithm 3 with its misprints
    mended: the coin is uniform, and a node without children gives a bonus token.

    Raises ValueError for a tree that was not sampled in order: there the rule is plainly wrong (total variation 0.3).
    """
    if len(tree) and not tree.sampled_in_order:
        raise ValueError("rejection without replacement needs a tree that was sampled in order")
    branches = Branches(tree)
    path: list[int] = []
    node = ROOT
    while True:
        left = target(node)
        accepted = None
        if branches[node]:
            accepted = _try_children(tree, branches[node], laws[node], left, chance)
        if accepted is None:
            return Verdict(tuple(path), chance.draw(left), not branches[node])
        path.append(accepted)
        if tree.tokens[accepted] in end:
            return Verdict(tuple(path), None, True)
        node = accepted


def _try_children(
    tree: TokenTree, children: Sequence[int], law: Law, left: Weights, chance: Chance
) -> int | None:
    """The child that is accepted. `left` becomes the residual of the target after those that were not."""
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


def follow_the_mixture(
    tree: TokenTree,
    defers: Callable[[int], bool],
    pick: Pick,
    draft_pick: Pick,
    end: Collection[int],
) -> Verdict:
    """Speculative cascades: where the rule does not defer, the small model's law takes the place of the large one's.

    Exact for that mixture. `draft_pick` draws from the small model by the number that `pick` would use; where the small
    model drafted with it, the draft stands whenever it is not deferred. After a leaf there is no row of the small model, so
    the large one writes.
    """
    branches = Branches(tree)

    def mixed(node: int, depth: int) -> int:
        if branches[node] and not defers(node):
            return draft_pick(node, depth)
        return pick(node, depth)

    return follow_the_target(tree, mixed, end)


def match_loosely(
    draft: Sequence[int],
    pick: Pick,
    window: int,
    end: Collection[int],
    loose: Callable[[int], bool] = lambda node: True,
) -> Verdict:
    """FLy on a chain: a draft token that differs stands when the `window - 1` tokens after it all agree.

    So the last `window - 1` positions of a chain are strict. `loose(node)` is the gate: whether the row after `node`
    leaves room for another word at all. An end token is never accepted, and never passed over, against the target.
    """
    known: list[int] = []

    def picked(i: int) -> int:
        while len(known) <= i:
            known.append(pick(len(known) - 1, len(known)))
        return known[i]

    for i, token in enumerate(draft):
        if token != picked(i):
            ahead = range(i + 1, i + window)
            stands = (
                ahead[-1] < len(draft)
                and token not in end
                and picked(i) not in end
                and loose(i - 1)
                and all(draft[j] == picked(j) for j in ahead)
            )
            if not stands:
                return Verdict(tuple(range(i)), picked(i), False)
        if token in end:
            return Verdict(tuple(range(i + 1)), None, True)
    return Verdict(tuple(range(len(draft))), picked(len(draft)), True)


def roll_back(
    draft: Sequence[int],
    surprise: Callable[[int], float],
    threshold: float,
    pick: Pick,
    end: Collection[int],
) -> Verdict:
    """BiLD on a chain: fall back to the first token whose `surprise` (nats, -log p of the large model) is above it."""
    for i, token in enumerate(draft):
        if surprise(i) > threshold:
            return Verdict(tuple(range(i)), pick(i - 1, i), False)
        if token in end:
            return Verdict(tuple(range(i + 1)), None, True)
    return Verdict(tuple(range(len(draft))), pick(len(draft) - 1, len(draft)), True)


def total_variation(first: Any, second: Any) -> float:
    """Half the sum of absolute differences of two distributions of one length."""
    return float(np.abs(first - second).sum()) / 2
