"""Engines whose state cannot be cut, such as a recurrent one: they go back by a copy of it.

Before a forward that may have to be taken back the state is copied. A rewind restores the newest
copy that is old enough and reads on from there. Chains are taken back likewise; a tree with
branches would need a state a branch.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adec.engines.sequence import SequenceEngine
from adec.errors import EngineError
from adec.signals import Scores
from adec.tree import TokenTree

SNAPSHOTS = 3
"""Kept at most: the first one, which is the prompt's end in most runs, and the newest."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state after the first `length` tokens."""

    length: int
    state: Any


class SnapshotRewind(SequenceEngine):
    """What a backend's engine becomes by copies of its state; stands before it in the bases."""

    rewinds_by_reading = True
    _snapshots: tuple[Snapshot, ...] = ()
    # whether the next forward begins where a later rewind may want to go: behind a forward of
    # several tokens, or behind a rewind. Single tokens in a row are seldom taken back one by one
    _due = True

    @abstractmethod
    def _copy_state(self) -> Any:
        """A copy of the state as it is now. Raises EngineError."""

    @abstractmethod
    def _put_state(self, snapshot: Snapshot) -> bool:
        """Make the state that of a snapshot; whether that went well."""

    @abstractmethod
    def _clear_state(self) -> None:
        """Make the state that of an empty sequence."""

    @abstractmethod
    def _read_on(self, tokens: Sequence[int], start: int) -> None:
        """Run `tokens` at positions from `start` on, without rows."""

    def forward(self, tokens: Sequence[int], *, rows: int = 1) -> Scores:
        """See `Engine.forward`."""
        if self._due and self._tree is None and self.length and not (self._closed or self._lost):
            self._take_snapshot()
        scores = super().forward(tokens, rows=rows)
        self._due = len(tokens) > 1
        return scores

    def forward_tree(self, tree: TokenTree, *, first_row: int = 0) -> Scores:
        """See `Engine.forward_tree`."""
        if self._tree is None and self.length and not (self._closed or self._lost):
            self._take_snapshot()
        return super().forward_tree(tree, first_row=first_row)

    def _keep(self, tree: TokenTree, path: Sequence[int]) -> None:
        self._due = True
        if len(path) < len(tree):
            start = self.length
            self._go_back(start)
            if path:
                self._read_on([tree.tokens[node] for node in path], start)

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
        kept = self._snapshots
        if kept and kept[-1].length == self.length:
            return
        if len(kept) >= SNAPSHOTS:
            kept = (kept[0], *kept[2:])
        self._snapshots = (*kept, Snapshot(self.length, self._copy_state()))

    def _go_back(self, length: int) -> None:
        """Make the state that of the first `length` tokens held."""
        self._due = True
        self._snapshots = tuple(one for one in self._snapshots if one.length <= length)
        start = 0
        if length and self._snapshots and self._put_state(self._snapshots[-1]):
            start = self._snapshots[-1].length
        if start == 0:
            self._forget()
        if start < length:
            self._read_on(self._held[start:length], start)

    def _forget(self) -> None:
        self._snapshots = ()
        self._clear_state()
