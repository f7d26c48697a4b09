"""The shapes of a proposal, grown node by node. Pure: where laws and successors come from is the caller's business.

    best_first     for drafters that choose: the node with the best chance next (a chain when there is one leaf)
    ordered_tree   DySpec, greedy: the sampling action with the best chance next; siblings sampled in order
    layered_tree   DySpec, threshold: a layer of sampling actions for each forward of the drafter

Xiong et al. 2024, "DySpec: Faster Speculative Decoding with Dynamic Token Tree Structure", arXiv 2410.11744, algorithms 1
and 2 (the printed condition of algorithm 2's inner loop is reversed).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import count

from adec.decoding.pair.chance import Chance, Weights
from adec.decoding.pair.growth import Growth
from adec.decoding.pair.law import Law
from adec.tree import ROOT, TokenTree


@dataclass(slots=True)
class Grown:
    """A tree, how sure its drafter was of each node given its parent, and for sampled trees the laws by node."""

    tree: TokenTree = field(default_factory=TokenTree)
    chances: list[float] = field(default_factory=list)
    laws: dict[int, Law] = field(default_factory=dict)
    depths: list[int] = field(default_factory=list)
    leaves: int = 0

    def add(self, parent: int, token: int, chance: float, first: bool) -> int:
        """Append a node. `first`: its parent has no other child yet."""
        self.leaves += not first or parent == ROOT
        self.chances.append(chance)
        self.depths.append(self.depth(parent) + 1)
        return self.tree.add(parent, token, chance)

    def depth(self, node: int) -> int:
        """Depth of a node; -1 for ROOT."""
        return -1 if node == ROOT else self.depths[node]

    def cut(self, nodes: int) -> None:
        """Keep the first `nodes` nodes."""
        tree = self.tree
        del tree.tokens[nodes:], tree.parents[nodes:], tree.probabilities[nodes:]
        del self.chances[nodes:], self.depths[nodes:]


Successors = Callable[[TokenTree, int], Sequence[tuple[int, float]]]
"""Candidates after a node with the drafter's probability of each, best first."""


def best_first(
    growth: Growth,
    successors: Successors,
    end: Collection[int],
    cost: Callable[[TokenTree, int], float] | None = None,
) -> Grown:
    """Add the candidate most likely to be committed, again and again, while `growth` admits it.

    `cost(tree, node)`: milliseconds that finding the successors of a node takes; None: they are free, so they are looked up
    at once. Nothing follows an end token.
    """
    grown, rates, room = Grown(), growth.rates, growth.room
    order = count()
    # (-value, order, parent, token, chance, rank); token None: the successors of `parent` are not known yet
    heap: list[tuple[float, int, int, int | None, float, int]] = []
    parents: set[int] = set()

    def expand(node: int, value: float) -> None:
        depth = grown.depth(node) + 1
        for rank, (token, chance) in enumerate(successors(grown.tree, node)):
            likely = value * rates.accepted(chance, depth, rank)
            heapq.heappush(heap, (-likely, next(order), node, token, chance, rank))

    def open_(node: int, value: float) -> None:
        depth = grown.depth(node) + 1
        if depth >= room.depth:
            return
        if cost is None:
            expand(node, value)
        else:
            guess = value * rates.at_depth(depth)
            heapq.heappush(heap, (-guess, next(order), node, None, value, 0))

    open_(ROOT, 1.0)
    while heap:
        negative, _, parent, token, chance, _ = heapq.heappop(heap)
        value = -negative
        if token is None:
            assert cost is not None
            if growth.admits(value, cost(grown.tree, parent)):
                expand(parent, chance)  # here `chance` is the value of the parent
            continue
        first = parent not in parents
        if (not first or parent == ROOT) and grown.leaves >= room.leaves:
            continue
        if not growth.admits(value):
            break  # whatever is left is less likely still
        node = grown.add(parent, token, chance, first)
        parents.add(parent)
        growth.add(value)
        if token not in end:
            open_(node, value)
    grown.cut(growth.best())
    return grown


def ordered_tree(
    growth: Growth,
    law_of: Callable[[TokenTree, int], Law | None],
    chance: Chance,
    end: Collection[int],
    cost: Callable[[TokenTree, int], float] = lambda tree, node: 0.0,
) -> Grown:
    """DySpec's greedy tree. An action is one draw: a node's first child, or one more sibling of those it has.

    Its value is the chance that verification gets there. Whether to draw is decided by values and distributions alone, before the
    draw, and a token once drawn stays: so siblings are an honest sample without replacement. A child's law (one forward) is
    asked for only when its first draw is next. `law_of` may answer None: nothing can follow.
    """
    grown, rates, room = Grown(TokenTree(sampled_in_order=True)), growth.rates, growth.room
    order = count()
    # (-value, order, node, weights left, rank)
    heap: list[tuple[float, int, int, Weights | None, int]] = [(-1.0, next(order), ROOT, None, 0)]
    while heap:
        negative, _, node, left, rank = heapq.heappop(heap)
        value, depth = -negative, grown.depth(node) + 1
        if depth >= room.depth or ((rank or node == ROOT) and grown.leaves >= room.leaves):
            continue
        if left is None:
            if not growth.admits(value * rates.at_depth(depth), cost(grown.tree, node)):
                continue
            law = law_of(grown.tree, node)
            if law is None:
                continue
            grown.laws[node] = law
            left = law.probabilities.copy()
        drawn = _draw(grown, growth, node, left, rank, value, chance)
        if drawn is None:
            continue
        child, taken = drawn
        if left.sum() > 0:
            heapq.heappush(heap, (-value * (1 - taken), next(order), node, left, rank + 1))
        if grown.tree.tokens[child] not in end:
            heapq.heappush(heap, (-value * taken, next(order), child, None, 0))
    return grown


def layered_tree(
    growth: Growth,
    laws_of: Callable[[TokenTree, Sequence[int]], Sequence[Law] | None],
    threshold: float,
    chance: Chance,
    end: Collection[int],
    cost: Callable[[TokenTree, int], float] = lambda tree, layer: 0.0,
) -> Grown:
    """DySpec's threshold tree: every action worth at least `threshold`, one forward of the drafter for each layer.

    `laws_of(tree, layer)`: the laws after the nodes of a layer, in one forward; None: nothing can follow.
    `cost(tree, size of the layer)`: what that takes.
    """
    grown, rates, room = Grown(TokenTree(sampled_in_order=True)), growth.rates, growth.room
    layer = [(ROOT, 1.0)]
    depth = 0
    while layer and depth < room.depth:
        hope = max(value for _, value in layer) * rates.at_depth(depth)
        if not growth.admits(hope, cost(grown.tree, len(layer))):
            break
        laws = laws_of(grown.tree, [node for node, _ in layer])
        if laws is None:
            break
        below: list[tuple[int, float]] = []
        for (node, value), law in zip(layer, laws, strict=True):
            grown.laws[node] = law
            left, rank = law.probabilities.copy(), 0
            while value >= threshold and left.sum() > 0:
                if (rank or node == ROOT) and grown.leaves >= room.leaves:
                    break
                drawn = _draw(grown, growth, node, left, rank, value, chance)
                if drawn is None:
                    break
                child, taken = drawn
                if grown.tree.tokens[child] not in end:
                    below.append((child, value * taken))
                value *= 1 - taken
                rank += 1
        layer = below
        depth += 1
    return grown


def _draw(
    grown: Grown, growth: Growth, node: int, left: Weights, rank: int, value: float, chance: Chance
) -> tuple[int, float] | None:
    """Draw one child if it is worth it; returns it and its chance of acceptance, and zeroes it in `left`.

    Before the draw its acceptance is foreseen as the expectation of the token's own probability, sum p^2.
    """
    mass = left.sum()
    depth = grown.depth(node) + 1
    foreseen = growth.rates.accepted(float((left * left).sum() / (mass * mass)), depth, rank)
    if not growth.admits(value * foreseen):
        return None
    place = chance.draw(left)
    probability = float(left[place] / mass)
    taken = growth.rates.accepted(probability, depth, rank)
    child = grown.add(node, int(grown.laws[node].ids[place]), probability, rank == 0)
    growth.add(value * taken)
    left[place] = 0 * left[place]
    return child, taken
