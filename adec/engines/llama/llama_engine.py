"""GGUF models through llama.cpp's C functions: one sequence, and token trees as branch sequences of one batch.

Sequence 0 is the trunk. For a tree every leaf gets a sequence of its own that starts as a copy of the trunk's tags (the
cells are shared, so nothing is computed twice), and a node is one token that belongs to the sequences of all leaves
under it. The tags stay from tree to tree, since setting them costs 0.1 ms a branch and thousand tokens. A chain needs
none of this and runs on sequence 0.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from typing import NoReturn

import numpy as np

from adec.engines.base import Capability, ModelHeader, OpenOptions
from adec.engines.checks import check_feed, check_growth, check_rewind
from adec.engines.llama.branches import grown_owners
from adec.engines.llama.library import (
    Batch,
    Session,
    acquire_model,
    default_threads,
    failure,
    function_returning_address,
)
from adec.engines.llama.llama_tokenizer import LlamaTokenizer
from adec.engines.llama.spare_rows import SpareRows
from adec.errors import EngineError
from adec.signals import ArrayScores
from adec.tree import ROOT, TokenTree

DEFAULT_CONTEXT = 8192
MAX_BRANCHES = 64


class LlamaEngine:
    """One llama.cpp context on a GGUF model; see `adec.engines.base.Engine` for the contract.

    Engines on the same file share its weights. `forward` of one token is the hot path: two C calls and one copy.
    """

    @classmethod
    def open(cls, header: ModelHeader, options: OpenOptions) -> LlamaEngine:
        """Load the weights (or share loaded ones) and reserve the context.

        Raises EngineError when options contradict the model, when llama.cpp refuses or memory does not suffice.
        """
        limit = header.info.context_limit
        context = min(limit, DEFAULT_CONTEXT) if options.context is None else options.context
        if not 1 <= context <= limit:
            raise EngineError(
                f"{header.info.name} has no context of {context} tokens",
                hint=f"it reads 1 to {limit}",
            )
        if not 1 <= options.branches <= MAX_BRANCHES:
            raise EngineError(f"a tree has 1 to {MAX_BRANCHES} branches, not {options.branches}")
        threads = options.threads
        if threads is None:
            threads = default_threads(header.info.parameters)
        batch_threads = threads if options.batch_threads is None else options.batch_threads
        if not (1 <= threads <= 1024 and 1 <= batch_threads <= 1024):
            raise EngineError(
                f"{threads} and {batch_threads} threads are not counts from 1 to 1024"
            )
        model = acquire_model(header.info.path, gpu_layers=options.gpu_layers, mmap=options.mmap)
        branches = options.branches if "tree" in header.capabilities else 0
        session = Session(
            model,
            tokens=context,
            sequences=branches + 1,
            threads=threads,
            batch_threads=batch_threads,
        )
        try:
            return cls(header, session, context, branches)
        except BaseException:
            session.close()
            raise

    def __init__(self, header: ModelHeader, session: Session, context: int, branches: int) -> None:
        """Use `open`."""
        library = session.library
        self.info = header.info
        self.vocabulary = header.vocabulary
        self.capabilities: frozenset[Capability] = header.capabilities
        self.context = context
        self._missing = header.missing
        self._session = session
        # also at interpreter exit, where a context freed after the library's own teardown would crash
        self._finalizer = weakref.finalize(self, session.close)
        self.tokenizer = LlamaTokenizer(session)
        loaded = int(library.llama_vocab_n_tokens(session.model.vocabulary))
        if loaded != self.info.vocabulary:
            raise EngineError(
                f"{self.info.path} changed: {loaded} tokens, not {self.info.vocabulary}"
            )
        self.branches = max(branches, 1)
        self._length = 0
        self._tree: TokenTree | None = None
        self._owners: list[list[int]] | None = None
        # for each sequence how many tokens of the trunk carry its tag
        self._tagged = [0] * (branches + 1)
        self._size = self.info.vocabulary
        self._row_bytes = 4 * self._size
        self._capacity = int(library.llama_n_batch(session.context))
        self._batch = Batch(self._capacity, branches + 1)
        self._rows = SpareRows(self._size)
        self._single = Batch(1, 1)
        self._single.wanted[0] = 1
        self._single.struct.n_tokens = 1
        self._decode = library.llama_decode
        self._row_address = function_returning_address(
            library, "llama_get_logits_ith", ctypes.c_void_p, ctypes.c_int32
        )

    @property
    def length(self) -> int:
        return self._length

    def forward(self, tokens: Sequence[int], *, rows: int = 1) -> ArrayScores:
        start = self._length
        if len(tokens) == 1 and rows == 1 and self._tree is None and start < self.context:
            token = tokens[0]
            context = self._session.context
            if 0 <= token < self._size and context is not None:
                single = self._single
                single.tokens[0] = token
                single.positions[0] = start
                try:
                    code = self._decode(context, single.struct)
                    if code != 0:
                        self._fail(code)
                    self._length = start + 1
                    return self._read(0, 1)
                except BaseException:  # a Ctrl-C may fall between the C call and the count
                    self._restore(start)
                    raise
        self._ready()
        check_feed(self, tokens, rows)
        return self._append(tokens, rows)

    def forward_tree(self, tree: TokenTree, *, first_row: int = 0) -> ArrayScores:
        self._open()
        if "tree" not in self.capabilities:
            raise EngineError(
                f"{self.info.name} runs no token trees: {self._missing.get('tree', 'not supported')}"
            )
        known = check_growth(self._tree, tree, first_row)
        check_feed(self, tree.tokens, len(tree) - first_row)
        if len(tree) > self._capacity:
            raise EngineError(f"a tree of {len(tree)} nodes; {self._capacity} fit into one batch")
        if not all(ROOT <= parent < node for node, parent in enumerate(tree.parents)):
            raise EngineError("a tree has a node before its parent")
        kept = TokenTree(list(tree.tokens), list(tree.parents))
        start = self._length
        pending, before = self._tree, self._owners
        if tree.is_chain:
            return self._forward_chain(kept, known, first_row)
        chain = [[1] for _ in range(known)] if before is None else before
        owners, joins = grown_owners(kept, known, chain)
        leaves = max(max(owned) for owned in owners)
        if leaves > self.branches:
            raise EngineError(
                f"a tree of {leaves} leaves; {self.branches} are reserved",
                hint="open with more branches",
            )
        library, session = self._session.library, self._session
        try:
            for branch in range(1, leaves + 1):
                if self._tagged[branch] < start:
                    library.llama_memory_seq_cp(
                        session.memory, 0, branch, self._tagged[branch], start
                    )
                    self._tagged[branch] = start
            if pending is not None and before is None:
                # a chain lay on sequence 0; as the first branch of a tree it lies on sequence 1
                library.llama_memory_seq_cp(session.memory, 0, 1, start, start + known)
                library.llama_memory_seq_rm(session.memory, 0, start, -1)
            for source, branch, depth in joins:
                library.llama_memory_seq_cp(
                    session.memory, source, branch, start, start + depth + 1
                )
            self._fill_tree(kept, known, owners, first_row)
            code = self._decode(session.context, self._batch.struct)
            if code != 0:
                self._fail(code)
            scores = self._read(first_row - known, len(tree) - known)
            self._tree, self._owners = kept, owners
            return scores
        except BaseException:
            self._tree = self._owners = None
            self._restore(start)
            raise

    def keep(self, path: Sequence[int]) -> None:
        self._open()
        if self._tree is None:
            raise EngineError("keep without a pending tree")
        try:
            self._tree.check_path(path)
        except ValueError as error:
            raise EngineError(str(error)) from error
        start = self._length
        end = start + len(path)
        if self._owners is None:
            self._cut(end)
        else:
            library, memory = self._session.library, self._session.memory
            if path:
                winner = self._owners[path[-1]][0]
                library.llama_memory_seq_cp(memory, winner, 0, start, end)
            # cells that belong to no sequence any more are free again
            for branch in range(1, len(self._tagged)):
                if self._tagged[branch] == start:
                    library.llama_memory_seq_rm(memory, branch, start, -1)
        self._length = end
        self._tree = self._owners = None

    def rewind(self, length: int) -> None:
        self._open()
        check_rewind(self, length)
        if self._tree is not None:
            self.keep(())
        if length < self._length:
            self._cut(length)
            self._length = length

    def close(self) -> None:
        self._finalizer()

    def _forward_chain(self, tree: TokenTree, known: int, first_row: int) -> ArrayScores:
        """A tree of one path lies on sequence 0, and counts from `keep` on."""
        start = self._length
        self._tree = None
        self._length = start + known
        try:
            scores = self._append(tree.tokens[known:], len(tree) - first_row)
        except BaseException:
            self._restore(min(start, self._length))
            raise
        self._length, self._tree, self._owners = start, tree, None
        return scores

    def _append(self, tokens: Sequence[int], rows: int) -> ArrayScores:
        """Decode checked tokens on sequence 0, a piece at a time."""
        start, count, batch = self._length, len(tokens), self._batch
        logits = np.empty((rows, self._size), dtype=np.float32)
        done = 0
        try:
            for begin in range(0, count, self._capacity):
                end = min(begin + self._capacity, count)
                size = end - begin
                first = max(0, count - rows - begin)  # tokens of this piece before it want no row
                batch.tokens[:size] = tokens[begin:end]
                batch.positions[:size] = np.arange(start + begin, start + end)
                batch.sequence_counts[:size] = 1
                batch.sequences[:size, 0] = 0
                batch.wanted[:size] = 0
                batch.wanted[first:size] = 1
                batch.struct.n_tokens = size
                code = self._decode(self._session.context, batch.struct)
                if code != 0:
                    self._fail(code)
                self._length = start + end
                if first < size:
                    self._copy(first, size, logits[done:].ctypes.data)
                    done += size - first
        except BaseException:
            self._restore(start)
            raise
        return ArrayScores(logits)

    def _fill_tree(
        self, tree: TokenTree, known: int, owners: list[list[int]], first_row: int
    ) -> None:
        batch, count = self._batch, len(tree) - known
        batch.tokens[:count] = tree.tokens[known:]
        batch.positions[:count] = tree.depths()[known:]
        batch.positions[:count] += self._length
        batch.sequence_counts[:count] = [len(owned) for owned in owners[known:]]
        for entry, owned in enumerate(owners[known:]):
            batch.sequences[entry, : len(owned)] = owned
        batch.wanted[:count] = 0
        batch.wanted[first_row - known : count] = 1
        batch.struct.n_tokens = count

    def _read(self, first: int, end: int) -> ArrayScores:
        if end - first == 1:
            logits, target = self._rows.take()
            self._copy(first, end, target)
        else:
            logits = np.empty((end - first, self._size), dtype=np.float32)
            self._copy(first, end, logits.ctypes.data)
        return ArrayScores(logits)

    def _copy(self, first: int, end: int, target: int) -> None:
        """Copy the rows of batch entries [first, end) to an address: C reuses its own memory at the next call."""
        context, size = self._session.context, self._row_bytes
        for entry in range(first, end):
            address = self._row_address(context, entry)
            if address is None:
                raise failure(f"llama.cpp gave no scores for {self.info.name}")
            ctypes.memmove(target, address, size)
            target += size

    def _cut(self, length: int) -> None:
        """Remove positions from `length` on. Raises EngineError, and removes nothing, when the memory cannot."""
        library, memory = self._session.library, self._session.memory
        if length == 0:
            library.llama_memory_clear(memory, False)
            self._tagged = [0] * len(self._tagged)
        elif not library.llama_memory_seq_rm(memory, 0, length, -1):
            reason = self._missing.get("rewind", "llama.cpp refused")
            raise EngineError(
                f"{self.info.name} cannot be rewound to {length} tokens: {reason}; {self._length} remain"
            )
        for branch, tagged in enumerate(self._tagged):
            if tagged > length:
                library.llama_memory_seq_rm(memory, branch, length, -1)
                self._tagged[branch] = length

    def _restore(self, length: int) -> None:
        """Bring the sequence back to `length` after a failure; to 0 where a running state cannot go back."""
        library, memory = self._session.library, self._session.memory
        self._length = length
        if memory is None:
            return
        if any(self._tagged):
            library.llama_memory_seq_keep(memory, 0)
            self._tagged = [0] * len(self._tagged)
        gone = length > 0 and library.llama_memory_seq_rm(memory, 0, length, -1)
        if not gone or library.llama_memory_seq_pos_max(memory, 0) != length - 1:
            library.llama_memory_clear(memory, False)
            self._length = 0

    def _fail(self, code: int) -> NoReturn:
        reasons = {1: "no room in the cache", 2: "it was interrupted", -1: "an invalid batch"}
        raise failure(f"llama.cpp failed on {self.info.name} ({reasons.get(code, f'code {code}')})")

    def _open(self) -> None:
        if self._session.closed:
            raise EngineError(f"{self.info.name} is closed")

    def _ready(self) -> None:
        self._open()
        if self._tree is not None:
            raise EngineError("a tree is pending: keep a path or rewind first")
