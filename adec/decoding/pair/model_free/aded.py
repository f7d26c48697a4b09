"""ADED: drafts from an adaptive tri-gram table by Monte-Carlo tree search, no second model.

Liu et al. 2024, "Adaptive Draft-Verification for Efficient Large Language Model Decoding", arXiv
2407.12021 (AAAI 2025).

What is different here: the table starts from the prompt, not from a corpus of a gigabyte.
Verification follows the target, which is exact when sampling too; the release's is not. A rollout
is worth the sum of the table's shares along its path, as the paper has it; the released code looks
weights up with the wrong half of the state, so that its search follows the priors alone. Where the
table has nothing the step is plain; the release drafts token 100. Nodes past the budget go by their
chance, not by whose path has the most distinct tokens.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from adec.decoding.meter import Meter
from adec.decoding.pair.draft_verify import DraftVerify
from adec.decoding.pair.drafters.drafter import Drafter, Outcome, Proposal, empty
from adec.decoding.pair.drafters.growth import Growth
from adec.decoding.pair.drafters.shapes import best_first
from adec.decoding.pair.wiring import one_drafter
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids, Limits
from adec.engines.pair import Engines
from adec.events.records import Step
from adec.tree import ROOT, TokenTree

SUCCESSORS = 12
"""Successors of a pair of tokens that the search looks at (release)."""
WINDOW = 16
REINFORCE = 0.04
MOST = 3.0
"""Every tri-gram of the last WINDOW tokens gains REINFORCE at each proposal, up to MOST
(release)."""
STATES = 4
"""States of a searched path, the start included (release)."""
C1, C2 = 32.0, 8.0
PREFIXES = 24
"""Most visited prefixes that become the tree, each with one greedy successor (release)."""


class TriGrams:
    """Weights of the token after a pair: shares of counts, reinforced, never renormalised."""

    def __init__(self) -> None:
        self._rows: dict[tuple[int, int], dict[int, float]] = {}

    def build(self, tokens: Sequence[int]) -> None:
        """Count the tri-grams of a text; a pair's weights become shares of its row."""
        counts: dict[tuple[int, int], dict[int, int]] = {}
        for a, b, c in zip(tokens, tokens[1:], tokens[2:], strict=False):
            row = counts.setdefault((a, b), {})
            row[c] = row.get(c, 0) + 1
        for pair, row in counts.items():
            total = sum(row.values())
            kept = self._rows.setdefault(pair, {})
            for token, count in row.items():
                kept[token] = max(kept.get(token, 0.0), count / total)

    def reinforce(self, tokens: Sequence[int]) -> None:
        """Strengthen every tri-gram of `tokens`."""
        for a, b, c in zip(tokens, tokens[1:], tokens[2:], strict=False):
            row = self._rows.setdefault((a, b), {})
            row[c] = min(row.get(c, 0.0) + REINFORCE, MOST)

    def row(self, a: int, b: int) -> list[tuple[int, float]]:
        """The heaviest successors of a pair with their weights, heaviest first."""
        row = self._rows.get((a, b))
        if row is None:
            return []
        return sorted(row.items(), key=lambda item: (-item[1], item[0]))[:SUCCESSORS]


class _Node:
    """A state of the search: the pair of tokens that it ends in, and its rollouts' worth."""

    __slots__ = ("a", "b", "children", "prior", "value", "visits")

    def __init__(self, a: int, b: int, prior: float) -> None:
        self.a = a
        self.b = b
        self.prior = prior
        self.visits = 0
        self.value = 0.0
        self.children: list[_Node] | None = None  # None: not expanded


class TriGramSearch(Drafter):
    """Drafts from the table, which learns from everything committed."""

    name = "ngram"

    def __init__(self, iterations: int = 150) -> None:
        self._iterations = iterations
        self._table = TriGrams()
        self._random = random.Random(0)

    def start(self, prompt: Sequence[int], limits: Limits) -> Iterator[Step]:
        self._random = random.Random(0)  # one prompt, one answer, whatever came before
        self._table.build(prompt)
        yield from super().start(prompt, limits)

    def propose(self, sequence: Sequence[int], growth: Growth, meter: Meter) -> Proposal:
        self._table.reinforce(sequence[-WINDOW:])
        if len(sequence) < 2:
            return empty()
        root = self._search(sequence[-2], sequence[-1])
        trie = self._prefixes(root)
        nodes: dict[int, _Trie] = {}

        def successors(tree: TokenTree, node: int) -> list[tuple[int, float]]:
            place = trie if node == ROOT else nodes[tree.parents[node]].below[tree.tokens[node]]
            nodes[node] = place
            return [(token, child.chance) for token, child in place.below.items()]

        grown = best_first(growth, successors, self.limits.end)
        return Proposal(grown.tree, [self.name] * len(grown.tree), grown.chances)

    def learn(self, outcome: Outcome) -> None:
        pass  # the table reads the sequence itself, at the next proposal

    def _search(self, a: int, b: int) -> _Node:
        root = _Node(a, b, 1.0)
        unopened = 1  # nodes that could still be expanded
        for _ in range(self._iterations):
            path, node = [root], root
            while node.children and len(path) < STATES:
                node = _select(node)
                path.append(node)
            if node.children is None and len(path) < STATES:
                row = self._table.row(node.a, node.b)
                total = sum(weight for _, weight in row)
                node.children = [_Node(node.b, token, weight / total) for token, weight in row]
                unopened -= 1
                if node.children:
                    unopened += len(node.children) * (len(path) + 1 < STATES)
                    node = node.children[-1]
                    path.append(node)
            value = self._rollout(path)
            for visited in path:
                visited.visits += 1
                visited.value += value
            if unopened == 0 and root.visits >= 2 * PREFIXES:
                break  # everything within reach is known
        return root

    def _rollout(self, path: Sequence[_Node]) -> float:
        """1 + the sum of shares along the path, drawn on to its full length."""
        value = 1.0 + sum(node.prior for node in path[1:])
        a, b = path[-1].a, path[-1].b
        for _ in range(STATES - len(path)):
            row = self._table.row(a, b)
            if not row:
                break
            weights = [weight for _, weight in row]
            number = self._random.random() * sum(weights)
            for token, weight in row:  # noqa: B007
                number -= weight
                if number < 0:
                    break
            value += weight / sum(weights)
            a, b = b, token
        return value

    def _prefixes(self, root: _Node) -> _Trie:
        """The most visited prefixes, each with its heaviest successor, as a trie."""
        found: list[tuple[int, list[_Node]]] = []
        stack: list[list[_Node]] = [[child] for child in root.children or ()]
        while stack:
            path = stack.pop()
            if path[-1].visits:
                found.append((path[-1].visits, path))
                stack += [[*path, child] for child in path[-1].children or ()]
        found.sort(key=lambda item: (-item[0], len(item[1])))
        trie = _Trie(1.0)
        for _, path in found[:PREFIXES]:
            place = trie
            for node in path:
                place = place.below.setdefault(node.b, _Trie(node.prior))
            row = self._table.row(path[-1].a, path[-1].b)
            if row:
                token, weight = row[0]
                place.below.setdefault(token, _Trie(weight / sum(w for _, w in row)))
        return trie


class _Trie:
    """A node of the proposal: the table's share of it, and what follows."""

    __slots__ = ("below", "chance")

    def __init__(self, chance: float) -> None:
        self.chance = chance
        self.below: dict[int, _Trie] = {}


def _select(node: _Node) -> _Node:
    """The child of greatest upper confidence; a child that was never visited first."""
    assert node.children
    total = node.visits
    explore = (C1 + math.log((total + C2 + 1) / C2)) * math.sqrt(total)
    best, most = node.children[0], -1.0
    for child in node.children:
        if child.visits == 0:
            return child
        score = child.value / child.visits + explore * child.prior / (1 + child.visits)
        if score > most:
            best, most = child, score
    return best


@dataclass(frozen=True, slots=True)
class AdedSettings:
    """`--set aded.NAME=VALUE`."""

    iterations: int = setting(150, "rollouts of a search (release: 150)", least=1, most=100_000)
    budget: int = setting(64, "nodes of a tree at most (release: 64)", least=1, most=256)
    size: Literal["time", "fixed"] = setting(
        "time", "time: grow while tokens per millisecond rise. fixed: always the budget (release)"
    )


def build(engines: Engines, settings: AdedSettings, aids: Aids) -> DraftVerify:
    """ADED on the large model alone."""
    name, paper = "aded", "arXiv 2407.12021"
    drafter = TriGramSearch(settings.iterations)
    return one_drafter(name, paper, engines, aids, drafter, settings.budget, size=settings.size)
