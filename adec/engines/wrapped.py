"""What engines have in common that stand around another one: all that they do not change."""

from __future__ import annotations

from collections.abc import Sequence

from adec.engines.base import Capability, Engine, ModelInfo
from adec.engines.vocabularies.vocabulary import Tokenizer, Vocabulary
from adec.events.records import ThreadChange
from adec.signals import Scores
from adec.tree import TokenTree


class WrappedEngine:
    """See `adec.engines.base.Engine` for the contract."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def info(self) -> ModelInfo:
        return self._engine.info

    @property
    def vocabulary(self) -> Vocabulary:
        return self._engine.vocabulary

    @property
    def tokenizer(self) -> Tokenizer:
        return self._engine.tokenizer

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What passes through here; further protocols are the model's own."""
        return self._engine.capabilities & {"rewind", "tree"}

    @property
    def context(self) -> int:
        return self._engine.context

    @property
    def length(self) -> int:
        return self._engine.length

    @property
    def branches(self) -> int:
        return self._engine.branches

    @property
    def at_once(self) -> int:
        return self._engine.at_once

    @property
    def rewinds_by_reading(self) -> bool:
        return self._engine.rewinds_by_reading

    @property
    def threads(self) -> int | None:
        return self._engine.threads

    @property
    def in_order(self) -> bool:
        return self._engine.in_order

    @property
    def thread_changes(self) -> Sequence[ThreadChange]:
        return self._engine.thread_changes

    @property
    def dtype(self) -> str | None:
        return self._engine.dtype

    def common(self, tokens: Sequence[int]) -> int:
        """See `Engine.common`."""
        return self._engine.common(tokens)

    def forward(self, tokens: Sequence[int], *, rows: int = 1) -> Scores:
        """See `Engine.forward`."""
        return self._engine.forward(tokens, rows=rows)

    def forward_tree(self, tree: TokenTree, *, first_row: int = 0) -> Scores:
        """See `Engine.forward_tree`."""
        return self._engine.forward_tree(tree, first_row=first_row)

    def keep(self, path: Sequence[int]) -> None:
        """See `Engine.keep`."""
        self._engine.keep(path)

    def rewind(self, length: int) -> None:
        """See `Engine.rewind`."""
        self._engine.rewind(length)

    def close(self) -> None:
        """Free the memory of the engine inside."""
        self._engine.close()
