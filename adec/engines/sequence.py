"""The bookkeeping and the checks that every engine shares: one sequence, one pending tree.

Ranges are checked here, before a backend is called: a wrong range in C is a wrong write in memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from adec.engines.base import ModelHeader
from adec.engines.vocabularies.vocabulary import Tokenizer
from adec.errors import EngineError
from adec.events.records import ThreadChange
from adec.signals import Scores
from adec.tree import ROOT, TokenTree


class SequenceEngine(ABC):
    """An `Engine` whose subclass supplies nothing but the backend's calls.

    A subclass implements the five methods below that begin with an underscore and are abstract.
    They get checked arguments. They may fail or be interrupted anywhere: `_restore` then brings the
    cache back, so they do not clean up after themselves, and they change neither `_held` nor
    `_tree`.
    """

    rewinds_by_reading = False

    threads: int | None = None

    thread_changes: Sequence[ThreadChange] = ()

    dtype: str | None = None

    def __init__(
        self, header: ModelHeader, tokenizer: Tokenizer, *, context: int, branches: int
    ) -> None:
        self.info = header.info
        self.vocabulary = header.vocabulary
        self.capabilities = header.capabilities
        self.tokenizer = tokenizer
        self.context = context
        self.branches = branches
        self._missing = header.missing
        self._held: list[int] = []
        self._tree: TokenTree | None = None
        self._lost = False
        self._closed = False

    @abstractmethod
    def _append(self, tokens: Sequence[int], rows: int) -> Scores:
        """Run `tokens` at positions `length` and following; scores of the last `rows` of them."""

    @abstractmethod
    def _append_tree(self, tree: TokenTree, known: int, first_row: int) -> Scores:
        """Run the nodes of `tree` from `known` on; scores of those from `first_row` on.

        `known` nodes are in the cache already, as the pending tree `_tree` (None when `known` is
        0).
        """

    @abstractmethod
    def _keep(self, tree: TokenTree, path: Sequence[int]) -> None:
        """Let `path` of the pending `tree` follow the trunk in the cache; drop the other nodes."""

    @abstractmethod
    def _cut(self, length: int) -> None:
        """Drop the positions from `length` on; `length` 0 must work for every model."""

    @abstractmethod
    def _restore(self, length: int) -> bool:
        """Bring the cache back to `length` tokens and no tree, whatever state a failure left it in.

        False when a state cannot go back: the cache is then empty.
        """

    @abstractmethod
    def _free(self) -> None:
        """Free the memory; called once."""

    @property
    def in_order(self) -> bool:
        return True

    @property
    def at_once(self) -> int:
        return self.context

    @property
    def length(self) -> int:
        return len(self._held)

    def common(self, tokens: Sequence[int]) -> int:
        most = min(len(tokens), len(self._held))
        return next((i for i in range(most) if tokens[i] != self._held[i]), most)

    def forward(self, tokens: Sequence[int], *, rows: int = 1) -> Scores:
        self._check_usable()
        if self._tree is not None:
            raise EngineError("a tree is pending: keep a path or rewind first")
        self._check_feed(tokens, rows)
        start = self.length
        try:
            scores = self._append(tokens, rows)
            self._held += tokens
        except BaseException:
            self._recover(start)
            raise
        return scores

    def forward_tree(self, tree: TokenTree, *, first_row: int = 0) -> Scores:
        self._check_usable()
        known = self._check_tree(tree, first_row)
        self._check_feed(tree.tokens, len(tree) - first_row)
        # the caller may let its tree grow while this one is pending
        copy = TokenTree(list(tree.tokens), list(tree.parents), list(tree.probabilities))
        try:
            scores = self._append_tree(copy, known, first_row)
            self._tree = copy
        except BaseException:
            self._recover(self.length)
            raise
        return scores

    def keep(self, path: Sequence[int]) -> None:
        self._check_usable()
        if self._tree is None:
            raise EngineError("keep without a pending tree")
        try:
            self._tree.check_path(path)
        except ValueError as error:
            raise EngineError(str(error)) from error
        start = self.length
        try:
            self._keep(self._tree, path)
            self._held += [self._tree.tokens[node] for node in path]
            self._tree = None
        except BaseException:
            self._recover(start)
            raise

    def rewind(self, length: int) -> None:
        self._check_open()
        if not 0 <= length <= self.length:
            raise EngineError(
                f"cannot rewind {self.info.name} from {self.length} tokens to {length}"
            )
        if 0 < length < self.length and "rewind" not in self.capabilities:
            why = self._missing.get("rewind", "its cache cannot be cut")
            raise EngineError(
                f"{self.info.name} cannot be rewound to {length} tokens: {why};"
                f" {self.length} remain"
            )
        if self._tree is not None:
            self.keep(())
        if length < self.length or length == 0:
            self._cut(length)
            del self._held[length:]
            self._lost = False

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._free()

    def _recover(self, length: int) -> None:
        self._tree = None
        self._lost = not self._restore(length)
        del self._held[0 if self._lost else length :]

    def _check_open(self) -> None:
        if self._closed:
            raise EngineError(f"{self.info.name} is closed")

    def _check_usable(self) -> None:
        self._check_open()
        if self._lost:
            raise EngineError(
                f"{self.info.name} lost its sequence in a failed forward", hint="rewind it to 0"
            )

    def _check_feed(self, tokens: Sequence[int], rows: int) -> None:
        if not tokens:
            raise EngineError("a forward needs at least one token")
        if not 0 <= rows <= len(tokens):
            raise EngineError(f"a forward of {len(tokens)} tokens cannot give {rows} rows")
        self._check_ids(tokens)
        if self.length + len(tokens) > self.context:
            raise EngineError(
                f"the context of {self.info.name} is full: {self.length} tokens and"
                f" {len(tokens)} more, {self.context} at most",
                hint="give a larger --ctx, or a shorter prompt",
            )

    def _check_ids(self, tokens: Sequence[int]) -> None:
        size = self.info.vocabulary
        if min(tokens, default=0) < 0 or max(tokens, default=0) >= size:
            wrong = next(token for token in tokens if not 0 <= token < size)
            raise EngineError(
                f"token {wrong} is not in the vocabulary of {self.info.name} (0 to {size - 1})"
            )

    def _check_tree(self, tree: TokenTree, first_row: int) -> int:
        """The number of nodes of `tree` that are in the cache already."""
        chain = tree.is_chain
        if "tree" not in self.capabilities and not (chain and "rewind" in self.capabilities):
            raise EngineError(
                f"{self.info.name} runs no token trees: {self._missing.get('tree', 'unsupported')}"
            )
        if not chain and not all(ROOT <= above < node for node, above in enumerate(tree.parents)):
            raise EngineError("a tree has a node before its parent")
        if not chain and (leaves := len(tree.leaves())) > self.branches:
            raise EngineError(
                f"a tree of {leaves} leaves; {self.branches} are reserved",
                hint="open with more branches",
            )
        if self._tree is None:
            return 0
        known = len(self._tree)
        begins = (tree.tokens[:known], tree.parents[:known]) == (
            self._tree.tokens,
            self._tree.parents,
        )
        if not begins or len(tree) == known:
            raise EngineError("a tree is pending: grow it, keep a path, or rewind first")
        if first_row < known:
            raise EngineError(f"rows of the first {known} nodes were given when these were run")
        return known


class EmbedSequence(SequenceEngine):
    """A `SequenceEngine` with the capability "vectors"; see `adec.engines.protocols.EmbedEngine`.

    While `_append_tree` runs, `_vectors` holds what nodes read in place of their tokens.
    """

    _vectors: Mapping[int, NDArray[np.float32]] = {}
    # nodes of the pending tree that read a vector, and cannot be kept
    _pseudo: frozenset[int] = frozenset()

    @property
    @abstractmethod
    def width(self) -> int:
        """Numbers in an embedding."""

    @abstractmethod
    def embeddings(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """See `EmbedEngine.embeddings`."""

    def forward_tree_vectors(
        self, tree: TokenTree, vectors: Mapping[int, NDArray[np.float32]], *, first_row: int = 0
    ) -> Scores:
        """See `EmbedEngine.forward_tree_vectors`."""
        for node, vector in vectors.items():
            if not 0 <= node < len(tree) or vector.shape != (self.width,):
                raise EngineError(
                    f"{self.info.name} reads vectors of {self.width} numbers at nodes 0 to"
                    f" {len(tree) - 1}, not one of shape {vector.shape} at {node}"
                )
        self._vectors = vectors
        try:
            scores = self.forward_tree(tree, first_row=first_row)
        finally:
            self._vectors = {}
        self._pseudo |= vectors.keys()
        return scores

    def forward_tree(self, tree: TokenTree, *, first_row: int = 0) -> Scores:
        if self._tree is None:
            self._pseudo = frozenset()
        return super().forward_tree(tree, first_row=first_row)

    def keep(self, path: Sequence[int]) -> None:
        if self._tree is not None and not self._pseudo.isdisjoint(path):
            raise EngineError("a node that reads a vector is no token and cannot be kept")
        super().keep(path)
