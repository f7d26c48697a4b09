"""What the cells of llama.cpp's cache hold: the trunk, branches of a tree, and rejected nodes.

Sequence 0 is the trunk. Every leaf of a tree gets a sequence of its own that starts as a copy of
the trunk's tags: the cells are shared, so nothing is computed twice. The tags stay from tree to
tree, since setting them costs 0.1 ms for a branch and a thousand tokens.

Attention sums in the order of cells, in half precision, so a row equals that of decoding token by
token only while the trunk's cells lie in order. A rejected node that lies before an accepted one
keeps its cell, held by a last sequence, so that no later token fills it out of order; where the
context runs short such cells are given back, and `in_order` is false from then on.
"""

from __future__ import annotations

from collections.abc import Sequence

from adec.engines.llama.llama_context import LlamaContext

Place = tuple[int, int]
"""(branch, position) of a cell: a branch has one token a position."""


class TrunkCells:
    """The cells of one context, by the sequences that they belong to."""

    def __init__(self, session: LlamaContext, branches: int, context: int) -> None:
        """`branches`: of a tree, at most. `context`: tokens of the trunk, at most."""
        self.in_order = True
        self.room = context
        """Tokens of the trunk for which the cells suffice."""
        self._session = session
        self._context = context
        self._count = int(session.api.llama_n_ctx(session.context))
        # of each sequence, how many tokens of the trunk carry its tag
        self._tagged = [0] * (branches + 1)
        # of each cell reserved for a rejected node, the length of the trunk that it followed
        self._reserved: list[int] = []
        self._reserver = branches + 1

    def make_room(self, length: int) -> None:
        """Give back reserved cells if a sequence of `length` tokens needs them."""
        if length > self.room and self._reserved:
            self._release()
            self.in_order = False

    def tag(self, last: int, length: int) -> None:
        """Have branches 1 to `last` begin with the trunk, which has `length` tokens."""
        for branch in range(1, last + 1):
            if self._tagged[branch] < length:
                self.share(0, branch, self._tagged[branch], length)
                self._tagged[branch] = length

    def share(self, source: int, target: int, start: int, end: int) -> None:
        """Have sequence `target` hold what `source` does from position `start` to before `end`."""
        self._session.api.llama_memory_seq_cp(self._session.memory, source, target, start, end)

    def branch_off(self, start: int, end: int) -> None:
        """Hand what the trunk has from `start` to before `end`, its last, to branch 1."""
        self.share(0, 1, start, end)
        self._session.api.llama_memory_seq_rm(self._session.memory, 0, start, -1)

    def reserve(self, rejected: Sequence[Place], start: int) -> None:
        """Let rejected nodes of a tree behind `start` tokens keep their cells."""
        for branch, position in rejected:
            self.share(branch, self._reserver, position, position + 1)
        self._reserved += [start] * len(rejected)
        self.room = min(self._context, self._count - len(self._reserved))

    def drop_branches(self, start: int) -> None:
        """Drop what branches have from position `start` on.

        Cells that no sequence owns any more become free.
        """
        for branch in range(1, len(self._tagged)):
            if self._tagged[branch] == start:
                self._session.api.llama_memory_seq_rm(self._session.memory, branch, start, -1)

    def cut(self, length: int) -> bool:
        """Drop the positions from `length` on, while no tree is pending; whether it could be."""
        library, memory = self._session.api, self._session.memory
        if length == 0:
            library.llama_memory_clear(memory, False)
            self._tagged = [0] * len(self._tagged)
            self._reserved, self.room, self.in_order = [], self._context, True
        elif not library.llama_memory_seq_rm(memory, 0, length, -1):
            return False
        for branch, tagged in enumerate(self._tagged):
            if tagged > length:
                library.llama_memory_seq_rm(memory, branch, length, -1)
                self._tagged[branch] = length
        # the cells of an earlier tree lie before some that stay
        if self._reserved and length <= min(self._reserved):
            self._release()
        return True

    def restore(self, length: int) -> bool:
        """Bring the cache back to `length` tokens, whatever state a failure left it in.

        False when that cannot be: it is empty then.
        """
        library, memory = self._session.api, self._session.memory
        if memory is None:
            return True
        if any(self._tagged):
            library.llama_memory_seq_keep(memory, 0)
            self._tagged = [0] * len(self._tagged)
            self.in_order = self.in_order and not self._reserved
            self._reserved, self.room = [], self._context
        gone = length > 0 and library.llama_memory_seq_rm(memory, 0, length, -1)
        if not gone or library.llama_memory_seq_pos_max(memory, 0) != length - 1:
            library.llama_memory_clear(memory, False)
            return length == 0
        return True

    def _release(self) -> None:
        if self._reserved:
            self._session.api.llama_memory_seq_rm(self._session.memory, self._reserver, -1, -1)
            self._reserved = []
            self.room = self._context
