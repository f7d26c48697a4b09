"""PPD's trees: which drafts a forward verifies, and which of them carry how many prompt tokens.

Chen et al. 2024, "Hardware-Aware Parallel Prompt Decoding for Memory-Efficient Acceleration of LLM
Inference", arXiv 2405.18628, sections 3.2 and 3.3. A round begins with the rows of k prompt tokens,
those of the node that the last round ended at, and its tree may be k deep. What is known is

    accuracy[d, j]   how often the j-th likeliest token of the row at distance d is the one written

1. Candidates are paths of ranks, by the product of their accuracies.
2. Every node gets prompt tokens, and they are taken away again where they are missed least:
   P(a round ends at the node) * (value of k - value of k - 1).
3. The number of prompt tokens at the end of one round is the state of the next: a Markov chain.
   `plan_trees` finds its values and its stationary speed together with the trees.

What is different here: size. The paper fixes the tokens of a forward, finds the trees of most
tokens a round, and takes the size of most tokens a second among a few. Here a further token is
paid for with the time that this machine takes for it, in each state anew: Howard's policy iteration
on tokens per millisecond. A node may carry no prompt token, and the best plan may be not to draft.
`RowPrice` says what carrying takes, so that pseudo states (`hidden_transfer.py`, `lexical.py`),
which come as whole chains and run some of the layers, are planned alike.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise
from math import ceil

import numpy as np
from numpy.typing import NDArray

from adec.tree import ROOT

Accuracy = NDArray[np.float64]
"""By distance and rank, shape (prompt tokens, ranks)."""

FORGETS = 1e-3
"""Chance that a round's prompt tokens are of no use after all: an answer ends, say."""
ROUNDS = 12
"""Policy iterations at most; three or four are the rule."""
COUNTS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 96, 128)
"""Numbers of candidates that are tried."""


@dataclass(frozen=True)
class RowPrice:
    """What the rows that foresee cost, and how they come."""

    tokens: float = 1.0
    """Tokens of a forward that a row counts as; less where it runs some of the layers."""
    whole: bool = False
    """Whether a node carries all of its chain or nothing."""

    def size(self, rows: int) -> int:
        """Tokens of a forward that so many rows count as."""
        return ceil(rows * self.tokens - 1e-9)


EACH = RowPrice()


@dataclass(frozen=True)
class PromptTree:
    """What a round verifies: candidates by rank, and prompt tokens behind them."""

    parents: tuple[int, ...] = ()
    """By candidate; ROOT: the newest token."""
    ranks: tuple[int, ...] = ()
    """By candidate: its place among the likeliest tokens of its distance."""
    prompts: tuple[int, ...] = (0,)
    """Prompt tokens behind the newest token, then behind each candidate."""
    tokens: float = 1.0
    """Expected tokens of a round."""
    ends: tuple[float, ...] = (1.0,)
    """By number of prompt tokens: the chance that a round ends at a node with so many."""
    rows: RowPrice = EACH

    @property
    def size(self) -> int:
        """Tokens of the forward, the newest one and prompt tokens included."""
        return 1 + len(self.parents) + self.rows.size(sum(self.prompts))


@dataclass(frozen=True)
class TreePlan:
    """A tree for each number of prompt tokens that a round may begin with."""

    trees: tuple[PromptTree, ...]
    rate: float
    """Tokens per millisecond in the long run."""
    values: tuple[float, ...]
    """What it is worth in tokens to begin with so many prompt tokens."""

    @property
    def drafts(self) -> bool:
        """Whether a round without prompt tokens plants some."""
        return sum(self.trees[0].prompts) > 0


def likeliest_paths(accuracy: Accuracy, depth: int, most: int) -> list[tuple[int, int, float]]:
    """At most `most` candidates down to `depth`, as (parent, rank, chance of the path).

    By falling chance, so that parents come first.
    """
    if depth == 0 or most == 0:
        return []
    found: list[tuple[int, int, float]] = []
    # by falling chance: (-chance, parent, depth, rank, chance of the parent)
    open_ = [(-float(accuracy[0, 0]), ROOT, 0, 0, 1.0)]
    while open_ and len(found) < most:
        negative, parent, at, rank, above = heapq.heappop(open_)
        if negative >= 0:
            break
        node = len(found)
        found.append((parent, rank, -negative))
        if rank + 1 < accuracy.shape[1]:
            beside = above * float(accuracy[at, rank + 1])
            heapq.heappush(open_, (-beside, parent, at, rank + 1, above))
        if at + 1 < depth:
            below = -negative * float(accuracy[at + 1, 0])
            heapq.heappush(open_, (-below, node, at + 1, 0, -negative))
    return found


def ends_at(paths: Sequence[tuple[int, int, float]]) -> list[float]:
    """The chance that a round ends at the newest token, then at each candidate."""
    ends = [1.0, *(chance for _, _, chance in paths)]
    for parent, _, chance in paths:
        ends[parent + 1] -= chance
    return [max(0.0, end) for end in ends]


def by_loss(ends: Sequence[float], values: Sequence[float]) -> list[tuple[float, int]]:
    """Prompt tokens as (loss, node), most missed first: the reverse of the paper's removals.

    `values`: by number of prompt tokens. A node loses its last one first, so an earlier one is
    missed at least as much.
    """
    found: list[tuple[float, int]] = []
    for node, end in enumerate(ends):
        loss = float("inf")
        for before, after in pairwise(values):
            loss = min(loss, end * (after - before))
            found.append((loss, node))
    return sorted(found, key=lambda one: (-one[0], one[1]))


def carried_by(
    ends: Sequence[float],
    values: Sequence[float],
    price: Callable[[int], float],
    *,
    most: int,
    rows: RowPrice = EACH,
) -> tuple[list[int], float]:
    """How many prompt tokens each node carries, and what they and the forward are worth in tokens.

    `ends`: the chance that the round ends at the newest token, then at each candidate. `price`: by
    tokens of the forward, in tokens. `most`: tokens of the forward.
    """
    step = len(values) - 1 if rows.whole else 1
    room = max(0, most - len(ends))
    most_carried = int(room / (step * rows.tokens))
    ranked = [one for one in by_loss(ends, values[::step])[:most_carried] if one[0] > 0]
    gains = accumulate((loss for loss, _ in ranked), initial=0.0)
    size = len(ends)
    worths = [gain - price(size + rows.size(p * step)) for p, gain in enumerate(gains)]
    kept = max(range(len(worths)), key=worths.__getitem__)
    prompts = [0] * size
    for _, node in ranked[:kept]:
        prompts[node] += step
    return prompts, worths[kept]


def best_tree(
    accuracy: Accuracy,
    state: int,
    values: Sequence[float],
    price: Callable[[int], float],
    *,
    most: int,
    nodes: int,
    rows: RowPrice = EACH,
) -> PromptTree:
    """The tree of most value for a round that begins with `state` prompt tokens.

    `price`: by tokens of the forward, in tokens. `most`: tokens of the forward. `nodes`: the newest
    token and the candidates, each of which may be a leaf.
    """
    every = likeliest_paths(accuracy, state, min(nodes, most) - 1)
    best, best_worth = PromptTree(), float("-inf")
    counts = [count for count in COUNTS if count <= len(every)]
    for count in dict.fromkeys([*counts, len(every)]):
        paths = every[:count]
        ends = ends_at(paths)
        tokens = 1 + sum(chance for _, _, chance in paths)
        prompts, worth = carried_by(ends, values, price, most=most, rows=rows)
        if tokens + worth > best_worth:
            best_worth = tokens + worth
            chances = [0.0] * len(values)
            for end, carries in zip(ends, prompts, strict=True):
                chances[carries] += end
            best = PromptTree(
                tuple(parent for parent, _, _ in paths),
                tuple(rank for _, rank, _ in paths),
                tuple(prompts),
                tokens,
                tuple(chances),
                rows,
            )
    return best


def plan_trees(
    accuracy: Accuracy,
    ms: Callable[[int], float],
    *,
    most: int,
    nodes: int,
    fixed: bool = False,
    rows: RowPrice = EACH,
) -> TreePlan:
    """Trees of the greatest speed in the long run, on a machine whose forward of n takes `ms(n)`.

    `most`: tokens of a forward. `nodes`: the newest token and candidates. `fixed`: all forwards
    have `most` tokens, as in the paper, and the trees are those of most tokens a round.
    """
    states = len(accuracy) + 1
    times = [0.0, *(1.0 if fixed else max(ms(size), 1e-9) for size in range(1, most + 1))]
    rate = 1 / times[1]
    # a first guess: each prompt token brings half of what the one before it brings
    values = [sum(0.5**at for at in range(1, state + 1)) for state in range(states)]
    trees: tuple[PromptTree, ...] = ()
    for _ in range(ROUNDS):
        price = partial(_price, times, rate)
        before = trees
        trees = tuple(
            best_tree(accuracy, state, values, price, most=most, nodes=nodes, rows=rows)
            for state in range(states)
        )
        if trees == before:
            break
        rate, values = stationary(trees, [times[tree.size] for tree in trees])
    return TreePlan(trees, rate, tuple(values))


def _price(times: Sequence[float], rate: float, size: int) -> float:
    return rate * times[size]


def stationary(trees: Sequence[PromptTree], times: Sequence[float]) -> tuple[float, list[float]]:
    """Tokens per unit of time in the long run, and the value of each state, 0 for the first.

    values[k] = tokens[k] - rate * times[k] + sum_j P(k to j) values[j]
    """
    states = len(trees)
    system = np.zeros((states, states))
    for state, tree in enumerate(trees):
        ends = np.array([*tree.ends, *[0.0] * (states - len(tree.ends))])
        # the value of the first state is 0: its column holds the rate
        system[state] = -(1 - FORGETS) * ends
        system[state, state] += 1
        system[state, 0] = times[state]
    solved = np.linalg.solve(system, [tree.tokens for tree in trees])
    return float(solved[0]), [0.0, *map(float, solved[1:])]
