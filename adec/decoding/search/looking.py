"""Looking ahead: a row's likeliest tokens, extended greedily, a forward a level of the tree."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from adec.signals import Scores
from adec.tree import TokenTree

RowAt = tuple[Scores, int]
"""Scores and the index of a row in them."""

Reader = Callable[[TokenTree, int, int], Scores]
"""(tree, known, first) to the rows from node `first` on; the first `known` nodes were read
before."""


@dataclass
class Branch:
    """A candidate token and its look-ahead.

    `logs[i]` is the log-probability of `tokens[i]` (nats), `nodes[i]` its node in the tree, and
    `rows[i]` the row after it. The last token has neither node nor row, since it was not read.
    """

    tokens: list[int]
    logs: list[float]
    probability: float
    nodes: list[int] = field(default_factory=list)
    rows: list[RowAt] = field(default_factory=list)

    def score(self, weight: float) -> float:
        """(log p(candidate) + weight * sum of the look-ahead's) / tokens (He et al. 2025).

        With weight 1 this is the mean log-probability. A candidate that has ended is not punished:
        both sum and length stop at its end.
        """
        first, *ahead = self.logs
        return (first + (weight * sum(ahead) if ahead and weight else 0.0)) / len(self.logs)


def look_ahead(
    at: RowAt, count: int, depth: int, end: frozenset[int], read: Reader, stem: Sequence[int] = ()
) -> tuple[TokenTree, list[Branch]]:
    """Extend the `count` likeliest tokens of row `at` greedily by up to `depth` tokens.

    Each level takes one forward, of one node for each candidate that has not ended: at most `count
    * depth` tokens in all. `stem`: tokens between the reader's trunk and the candidates, read with
    the first level.
    """
    scores, row = at
    branches = [
        Branch([token], [log_of(probability)], probability)
        for token, probability in scores.top(row, count)
    ]
    tree = TokenTree.chain(stem)
    known = 0
    for _ in range(depth):
        alive = [branch for branch in branches if branch.tokens[-1] not in end]
        if not alive:
            break
        first = len(tree)
        for branch in alive:
            above = branch.nodes[-1] if branch.nodes else len(stem) - 1
            branch.nodes.append(tree.add(above, branch.tokens[-1]))
        rows = read(tree, known, first)
        for index, branch in enumerate(alive):
            token = rows.argmax(index)
            branch.rows.append((rows, index))
            branch.tokens.append(token)
            branch.logs.append(log_of(rows.probability(index, token)))
        known = len(tree)
    return tree, branches


def log_of(probability: float) -> float:
    """The natural logarithm, -inf for 0."""
    return math.log(probability) if probability > 0 else -math.inf
