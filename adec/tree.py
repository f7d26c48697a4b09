"""A tree of token proposals: the one format that every drafter returns and every verifier reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

ROOT = -1
"""The parent of a top node: the end of the trunk, that is of what the engine's cache holds."""


@dataclass(slots=True)
class TokenTree:
    """Nodes in an order where parents come before their children.

    A chain is a tree without branches. `probabilities[i]` is the draft probability of node i given
    its parent, None from a drafter without a distribution (an n-gram table). `sampled_in_order`
    says that siblings were drawn one after another from the draft distribution without replacement,
    which makes rejection without replacement exact.
    """

    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    probabilities: list[float | None] = field(default_factory=list)
    sampled_in_order: bool = False

    @classmethod
    def chain(cls, tokens: Iterable[int]) -> TokenTree:
        """A tree of one path."""
        tree = cls()
        node = ROOT
        for token in tokens:
            node = tree.add(node, token)
        return tree

    def __len__(self) -> int:
        return len(self.tokens)

    def add(self, parent: int, token: int, probability: float | None = None) -> int:
        """Append a node under `parent` (ROOT for a top node) and return its index.

        Raises ValueError when the parent does not exist yet.
        """
        if not ROOT <= parent < len(self.tokens):
            raise ValueError(f"parent {parent} of a node {len(self.tokens)} is not in the tree")
        self.tokens.append(token)
        self.parents.append(parent)
        self.probabilities.append(probability)
        return len(self.tokens) - 1

    def children(self, node: int) -> list[int]:
        """The children of a node (of the trunk's end for ROOT), in the order they were added."""
        return [child for child, parent in enumerate(self.parents) if parent == node]

    def path(self, node: int) -> list[int]:
        """Node indices from the top down to `node`; empty for ROOT."""
        nodes: list[int] = []
        while node != ROOT:
            nodes.append(node)
            node = self.parents[node]
        return nodes[::-1]

    def tokens_to(self, node: int) -> list[int]:
        """Tokens from the top down to `node`; none for ROOT."""
        tokens: list[int] = []
        while node != ROOT:
            tokens.append(self.tokens[node])
            node = self.parents[node]
        return tokens[::-1]

    def below(self, stem: Sequence[int]) -> TokenTree:
        """This tree under a chain of tokens: node i becomes node len(stem) + i."""
        whole = TokenTree.chain(stem)
        offset = len(whole)
        whole.tokens += self.tokens
        whole.parents += [parent + offset for parent in self.parents]
        whole.probabilities += self.probabilities
        return whole

    def depths(self) -> list[int]:
        """Depth of each node; top nodes are at 0, so position = trunk length + depth."""
        depths: list[int] = []
        for parent in self.parents:
            depths.append(0 if parent == ROOT else depths[parent] + 1)
        return depths

    def leaves(self) -> list[int]:
        """Nodes without children."""
        inner = set(self.parents)
        return [node for node in range(len(self.tokens)) if node not in inner]

    @property
    def is_chain(self) -> bool:
        """Whether every node follows the one before it."""
        return all(parent == node - 1 for node, parent in enumerate(self.parents))

    def ancestor_mask(self) -> NDArray[np.bool_]:
        """(n, n) booleans: [i, j] is true when j is i or an ancestor of i."""
        mask = np.zeros((len(self), len(self)), dtype=np.bool_)
        for node, parent in enumerate(self.parents):
            if parent != ROOT:
                mask[node] = mask[parent]
            mask[node, node] = True
        return mask

    def check_path(self, path: Sequence[int]) -> None:
        """Raise ValueError unless `path` runs down from a top node, from parent to child."""
        above = ROOT
        for node in path:
            if not 0 <= node < len(self) or self.parents[node] != above:
                raise ValueError(f"{list(path)} is not a path from the root of this tree")
            above = node
