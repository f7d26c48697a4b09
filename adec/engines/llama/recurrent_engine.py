"""GGUF models with recurrent layers, which cannot forget a token: they go back by a snapshot.

Before a forward that may have to be taken back the recurrent state is copied. A rewind restores the
newest copy that is old enough and reads on from there. Of a hybrid model only the recurrent layers
are copied, since the cache of the others can be cut. Chains are taken back likewise; a tree with
branches would need a state a branch.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adec.engines.llama.llama_engine import LlamaEngine
from adec.engines.llama.llama_library import failure
from adec.errors import EngineError
from adec.signals import ArrayScores, Scores
from adec.tree import TokenTree

_RECURRENT_ONLY = 1
"""llama.cpp's LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY."""
SNAPSHOTS = 3
"""Kept at most: the first one, which is the prompt's end in most runs, and the newest."""


@dataclass(frozen=True, slots=True)
class _Snapshot:
    length: int
    state: Any
    """A ctypes array of bytes."""


class RecurrentEngine(LlamaEngine):
    """A `LlamaEngine` that rewinds by restoring a state and reading again."""

    rewinds_by_reading = True
    _snapshots: tuple[_Snapshot, ...] = ()
    # whether the next forward begins where a later rewind may want to go: behind a forward of
    # several tokens, or behind a rewind. Single tokens in a row are seldom taken back one by one
    _due = True

    def forward(self, tokens: Sequence[int], *, rows: int = 1) -> Scores:
        if self._due and self._tree is None and self.length and not self._closed:
            self._take_snapshot()
        scores = super().forward(tokens, rows=rows)
        self._due = len(tokens) > 1
        return scores

    def _append_tree(self, tree: TokenTree, known: int, first_row: int) -> ArrayScores:
        if known == 0 and self.length:
            self._take_snapshot()
        return super()._append_tree(tree, known, first_row)

    def _keep(self, tree: TokenTree, path: Sequence[int]) -> None:
        self._due = True
        if len(path) < len(tree):
            start = self.length
            self._go_back(start)
            if path:
                self._decode_pieces([tree.tokens[node] for node in path], start, 0)

    def _cut(self, length: int) -> None:
        self._go_back(length)

    def _restore(self, length: int) -> bool:
        try:
            self._go_back(length)
        except EngineError:
            self._forget()
            return length == 0
        return True

    def _take_snapshot(self) -> None:
        if self._snapshots and self._snapshots[-1].length == self.length:
            return
        library, context = self._session.api, self._session.context
        size = int(library.llama_state_seq_get_size_ext(context, 0, _RECURRENT_ONLY))
        state = (ctypes.c_uint8 * size)()
        copied = int(library.llama_state_seq_get_data_ext(context, state, size, 0, _RECURRENT_ONLY))
        if size == 0 or copied != size:
            raise failure(f"llama.cpp gave no copy of the state of {self.info.name}")
        kept = self._snapshots
        if len(kept) >= SNAPSHOTS:
            kept = (kept[0], *kept[2:])
        self._snapshots = (*kept, _Snapshot(self.length, state))

    def _go_back(self, length: int) -> None:
        """Make the state that of the first `length` tokens held."""
        library, context, memory = self._session.api, self._session.context, self._session.memory
        self._due = True
        self._snapshots = tuple(one for one in self._snapshots if one.length <= length)
        start = 0
        if length and self._snapshots:
            newest = self._snapshots[-1]
            size = len(newest.state)
            read = int(
                library.llama_state_seq_set_data_ext(
                    context, newest.state, size, 0, _RECURRENT_ONLY
                )
            )
            # the layers with attention still hold what came after
            if read == size and library.llama_memory_seq_rm(memory, 0, newest.length, -1):
                start = newest.length
        if start == 0:
            self._forget()
        if start < length:
            self._decode_pieces(self._held[start:length], start, 0)

    def _forget(self) -> None:
        self._snapshots = ()
        if self._session.memory is not None:
            self._session.api.llama_memory_clear(self._session.memory, False)
