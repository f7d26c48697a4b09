"""An engine that reads prompt tokens behind the nodes of the trees that it is given."""

from __future__ import annotations

from collections.abc import Sequence

from adec.decoding.heads.carrying_engine import CarryingEngine
from adec.decoding.heads.prompt_trees import EACH
from adec.engines.base import Capability
from adec.engines.protocols import EmbedEngine, Vectors
from adec.signals import Scores
from adec.tree import TokenTree


class PromptedEngine(CarryingEngine):
    """A large model beside which the loop of `pair/draft_verify.py` goes on as it is.

    A prompt token sees what its node sees, its node, and those before it in its chain. No node sees
    it, and it is gone when a path is kept. Its row comes behind those that were asked for.
    """

    rows = EACH

    def __init__(self, engine: EmbedEngine, prompts: Vectors) -> None:
        """`prompts`: what prompt tokens read, shape (prompt tokens, width)."""
        super().__init__(engine)
        self._embed = engine
        self._prompts = prompts
        self._scores: Scores | None = None
        self._found: dict[int, tuple[int, int]] = {}

    @property
    def capabilities(self) -> frozenset[Capability]:
        return self._engine.capabilities & {"rewind", "tree"}

    def foreseen(self, row: int) -> list[tuple[Scores, int]]:
        """The rows of the prompt tokens behind the node of a row of the last forward, in order."""
        if row not in self._found or self._scores is None:
            return []
        first, count = self._found[row]
        return [(self._scores, first + at) for at in range(count)]

    def forward(self, tokens: Sequence[int], *, rows: int = 1) -> Scores:
        """See `Engine.forward`. Tokens of which some get no row are a prompt: they carry none."""
        if rows != len(tokens) or not self.carry:
            self._forget()
            return self._engine.forward(tokens, rows=rows)
        scores = self._run(TokenTree.chain(tokens), 0)
        self._engine.keep(range(len(tokens)))
        return scores

    def forward_tree(self, tree: TokenTree, *, first_row: int = 0) -> Scores:
        """See `Engine.forward_tree`."""
        if not self.carry:
            self._forget()
            return self._engine.forward_tree(tree, first_row=first_row)
        return self._run(tree, first_row)

    def _run(self, tree: TokenTree, first_row: int) -> Scores:
        whole, vectors = tree.below(()), {}
        room = min(self.context - self.length, self.at_once) - len(tree)
        carried: dict[int, tuple[int, int]] = {}
        for row, count in (self.carry or {}).items():
            # what has no room is left out
            count = min(count, room, len(self._prompts))
            node = row + first_row
            if count <= 0 or node >= len(tree):
                continue
            room -= count
            carried[row] = len(whole) - first_row, count
            for at in range(count):
                node = whole.add(node, 0, 0.0)
                vectors[node] = self._prompts[at]
        self._forget()
        scores = self._embed.forward_tree_vectors(whole, vectors, first_row=first_row)
        self._scores, self._found = scores, carried
        self.beside = (len(vectors), self.info.layers)
        return scores

    def _forget(self) -> None:
        self.carry, self._found, self._scores, self.beside = {}, {}, None, (0, 0)
