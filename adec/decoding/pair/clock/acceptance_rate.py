"""How often drafts are accepted: by the drafter's probability, depth, and rank among siblings.

Only what was really judged counts. A node below a rejected one says nothing about itself (it is
censored), so a trial is a child of an accepted node, or of the trunk's end. Its outcome is an
unbiased sample of acceptance given that its parent stands, at any depth (the discrete hazard of
Kaplan and Meier).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from adec.tree import ROOT, TokenTree

EDGES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 0.9999)
"""Bins of the drafter's probability; finer where it is nearly sure, since long drafts live
there."""

DEPTHS = (0, 1, 3, 7)
"""First depth of each class of depths."""

DEEP = 8
"""Depths from here on count as one."""

PRIOR = 3.0
"""Weight of a prior, in trials. A bin's prior is the drafter's own probability (DySpec's proxy);
the prior of a bin at some depth is the bin."""

MEMORY = 24.0
"""Trials that a cell remembers: few, since a text changes its character, and one long draft brings
many trials at once."""

GUESS = 0.9
"""Acceptance at a depth of which nothing is known yet: high, so that it is tried. Two failures
correct it."""


_NONE = (0.0, 0.0)


class Rates:
    """Acceptance of one drafter's nodes under one verifier."""

    def __init__(self, trust: float = 1.0) -> None:
        """`trust`: share of the drafter's probability that is the prior of a bin."""
        self._trust = trust
        self._bins: dict[int, list[float]] = {}
        self._cells: dict[int, list[float]] = {}
        self._depths: dict[int, list[float]] = {}

    def observe(self, chance: float, depth: int, rank: int, accepted: bool) -> None:
        """Count a node that was judged and whose parent stands. `rank` 0 is the first sibling."""
        bin_, cell = _keys(chance, depth, rank)
        _count(self._bins.setdefault(bin_, [0.0, 0.0]), accepted)
        _count(self._cells.setdefault(cell, [0.0, 0.0]), accepted)
        if rank == 0:
            _count(self._depths.setdefault(min(depth, DEEP), [0.0, 0.0]), accepted)

    def observe_judged(
        self, tree: TokenTree, chances: Sequence[float], path: Sequence[int], *, in_order: bool
    ) -> None:
        """Count every node of a tree that was verified: children of its end and of accepted nodes.

        `path`: the accepted nodes. `in_order`: siblings after the accepted one were not judged.
        """
        standing = set(path)
        depth_below = {ROOT: 0} | {node: depth + 1 for depth, node in enumerate(path)}
        ranks: dict[int, int] = {}
        settled: set[int] = set()
        for node, parent in enumerate(tree.parents):
            if parent not in depth_below or parent in settled:
                continue
            rank = ranks.get(parent, 0)
            ranks[parent] = rank + 1
            accepted = node in standing
            self.observe(chances[node], depth_below[parent], rank, accepted)
            if accepted and in_order:
                settled.add(parent)

    def observe_untried(
        self, tree: TokenTree, chances: Sequence[float], committed: Sequence[int]
    ) -> None:
        """Count the nodes of a tree that was not verified, by what was committed in its place."""
        above = ROOT
        for depth, token in enumerate(committed):
            children = [node for node, parent in enumerate(tree.parents) if parent == above]
            above = ROOT
            for rank, node in enumerate(children):
                accepted = tree.tokens[node] == token
                self.observe(chances[node], depth, rank, accepted)
                if accepted:
                    above = node
            if above == ROOT:
                return

    def accepted(self, chance: float, depth: int, rank: int = 0) -> float:
        """The chance that such a node is accepted, given that its parent is."""
        bin_, cell = _keys(chance, depth, rank)
        hits, trials = self._bins.get(bin_, _NONE)
        coarse = (hits + PRIOR * chance * self._trust) / (trials + PRIOR)
        hits, trials = self._cells.get(cell, _NONE)
        rate = (hits + PRIOR * coarse) / (trials + PRIOR)
        return rate if rate < 1.0 else 1.0

    def at_depth(self, depth: int, guess: float = GUESS) -> float:
        """The chance that the first draft at `depth` is accepted, given that those before it are.

        What is known of one depth is the prior of the next; `guess` is that of the first.
        """
        for place in range(min(depth, DEEP) + 1):
            hits, trials = self._depths.get(place, (0.0, 0.0))
            guess = (hits + PRIOR * guess) / (trials + PRIOR)
        return guess

    def soften(self, trials: float = PRIOR) -> None:
        """Let no cell weigh more than `trials`: after a long pause counts may be out of date."""
        for counts in (*self._bins.values(), *self._cells.values(), *self._depths.values()):
            if counts[1] > trials:
                counts[0] *= trials / counts[1]
                counts[1] = trials


def _keys(chance: float, depth: int, rank: int) -> tuple[int, int]:
    """Numbers of the bin, and of the bin at this class of depths."""
    bin_ = 2 * bisect_right(EDGES, chance) + (rank > 0)
    return bin_, 8 * bin_ + bisect_right(DEPTHS, depth)


def _count(counts: list[float], accepted: bool) -> None:
    if counts[1] >= MEMORY:
        counts[0] *= (MEMORY - 1) / MEMORY
        counts[1] *= (MEMORY - 1) / MEMORY
    counts[0] += accepted
    counts[1] += 1


def expected_tokens(rates: Sequence[float]) -> list[float]:
    """Tokens to expect of chains of 0, 1, 2, … drafts with these conditional acceptances."""
    expected, reach = [1.0], 1.0
    for rate in rates:
        reach *= rate
        expected.append(expected[-1] + reach)
    return expected
