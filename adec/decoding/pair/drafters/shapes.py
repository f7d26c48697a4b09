"""A proposal in growth, and the shape of all drafters that choose their tokens: best first.

Pure: where successors come from is the caller's business. DySpec's trees of sampled tokens are in
`dyspec.py`.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import count

from adec.decoding.pair.drafters.draws import Law
from adec.decoding.pair.drafters.growth import Growth
from adec.tree import ROOT, TokenTree


@dataclass(slots=True)
class Grown:
    """A tree with its drafter's probability of each node, and if it is sampled, its laws."""

    tree: TokenTree = field(default_factory=TokenTree)
    chances: list[float] = field(default_factory=list)
    """By node: its probability given its parent."""
    laws: dict[int, Law] = field(default_factory=dict)
    """By node: the law that its first child was drawn from."""
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
    """Add the node that is likeliest to be committed, again and again, while `growth` admits it.

    With room for one leaf this is a chain. Nothing follows an end token. `cost(tree, node)` gives
    the milliseconds that it takes to find the successors of a node; None: nothing, so they are
    looked up at once.
    """
    grown, rates, room = Grown(), growth.rates, growth.room
    order = count()
    # (-value, order, parent, token, chance, rank); with token None, the successors of `parent` are
    # not known yet, and `chance` is the value of the parent
    heap: list[tuple[float, int, int, int | None, float, int]] = []
    parents: set[int] = set()

    def expand(node: int, value: float) -> None:
        depth = grown.depth(node) + 1
        for rank, (token, chance) in enumerate(successors(grown.tree, node)):
            likely = value * rates.accepted(chance, depth, rank)
            heapq.heappush(heap, (-likely, next(order), node, token, chance, rank))

    def expand_later(node: int, value: float) -> None:
        depth = grown.depth(node) + 1
        if depth >= room.depth:
            return
        if cost is None:
            expand(node, value)
        else:
            guess = value * rates.at_depth(depth)
            heapq.heappush(heap, (-guess, next(order), node, None, value, 0))

    expand_later(ROOT, 1.0)
    while heap:
        negative, _, parent, token, chance, _ = heapq.heappop(heap)
        value = -negative
        if token is None:
            assert cost is not None
            if growth.admits(value, cost(grown.tree, parent)):
                expand(parent, chance)
            continue
        first = parent not in parents
        if (not first or parent == ROOT) and grown.leaves >= room.leaves:
            continue
        if not growth.admits(value):
            break  # whatever is left is less likely still
        node = grown.add(parent, token, chance, first)
        parents.add(parent)
        growth.add(value)
        if token not in end and growth.deepens(value):
            expand_later(node, value)
    grown.cut(growth.best())
    return grown
