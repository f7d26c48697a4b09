"""GGUF models through llama.cpp's C functions: one sequence, and trees as branches of a batch.

A tree is one batch. Its nodes share the cells of the trunk (`trunk_cells.py`), and a node is one
token that belongs to the sequences of all leaves under it (`branches.py`). Its likeliest path is
laid first, so that mostly the last cells are freed. A chain needs none of this and runs on
sequence 0.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from time import perf_counter
from typing import NoReturn

import numpy as np

from adec.engines.base import ModelHeader, OpenOptions
from adec.engines.llama.branches import grown_owners, likeliest_first
from adec.engines.llama.llama_context import Batch, LlamaContext, LlamaTokenizer, SpareRows
from adec.engines.llama.llama_library import (
    RemoteDevices,
    acquire_model,
    default_threads,
    failure,
    function_returning_address,
)
from adec.engines.llama.trunk_cells import Place, TrunkCells
from adec.engines.sequence import SequenceEngine
from adec.engines.thread_count import ThreadCount
from adec.errors import EngineError
from adec.signals import ArrayScores, Scores
from adec.tree import TokenTree

DEFAULT_CONTEXT = 8192
MAX_BRANCHES = 64
_FIRST = (0,)


class LlamaEngine(SequenceEngine):
    """One llama.cpp context on a GGUF model; see `adec.engines.base.Engine` for the contract.

    Engines on the same file share its weights. A forward of one token is the hot path: two C calls
    and one copy.
    """

    @classmethod
    def open(
        cls, header: ModelHeader, options: OpenOptions, remote: RemoteDevices | None = None
    ) -> LlamaEngine:
        """Load the weights (or share loaded ones) and reserve the context.

        With `remote` the layers run there, and calls may hang or abort: see `RemoteEngine`.

        Raises EngineError when the options contradict the model, llama.cpp refuses, or memory does
        not suffice.
        """
        limit = header.info.context_limit
        context = min(limit, DEFAULT_CONTEXT) if options.context is None else options.context
        context = limit if context == 0 else context
        if not 1 <= context <= limit:
            raise EngineError(
                f"{header.info.path} has no context of {context} tokens",
                hint=f"it reads 1 to {limit}",
            )
        if not 1 <= options.branches <= MAX_BRANCHES:
            raise EngineError(f"a tree has 1 to {MAX_BRANCHES} branches, not {options.branches}")
        threads = options.threads
        if threads is None:
            # with all layers elsewhere there is next to nothing to compute here
            threads = 1 if remote is not None else default_threads(header.info.parameters)
        batch_threads = threads if options.batch_threads is None else options.batch_threads
        if not (1 <= threads <= 1024 and 1 <= batch_threads <= 1024):
            raise EngineError(
                f"{threads} and {batch_threads} threads are not counts from 1 to 1024"
            )
        model = acquire_model(
            header.info.path, gpu_layers=options.gpu_layers, mmap=options.mmap, remote=remote
        )
        branches = options.branches if "tree" in header.capabilities else 0
        session = LlamaContext(
            model,
            tokens=context,
            sequences=branches + 2 if branches else 1,
            threads=threads,
            batch_threads=batch_threads,
        )
        try:
            engine = cls(header, session, context, branches)
            engine.threads = threads
            chosen = options.threads is not None or options.batch_threads is not None
            if options.adapts and not chosen and threads > 1:
                engine.adapt_threads(threads)
            return engine
        except BaseException:
            session.close()
            raise

    def __init__(
        self, header: ModelHeader, session: LlamaContext, context: int, branches: int
    ) -> None:
        """Use `open`."""
        library = session.api
        self._session = session
        # runs also at interpreter exit: freeing a context after the library's teardown would crash
        self._finalizer = weakref.finalize(self, session.close)
        super().__init__(
            header, LlamaTokenizer(session), context=context, branches=max(branches, 1)
        )
        loaded = int(library.llama_vocab_n_tokens(session.model.vocabulary))
        if loaded != self.info.vocabulary:
            raise EngineError(
                f"{self.info.path} changed: {loaded} tokens, not {self.info.vocabulary}"
            )
        # what a subclass adds is its own to declare
        self.capabilities -= {"vectors"}
        self._threads: ThreadCount | None = None
        # of each node of a pending tree, the sequences it belongs to; None while a chain is pending
        self._owners: list[list[int]] | None = None
        # nodes of a pending tree in the order of their cells
        self._laid: list[int] = []
        self._cells = TrunkCells(session, branches, context)
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
    def in_order(self) -> bool:
        return self._cells.in_order

    def free_at_exit(self, wanted: bool) -> None:
        """Whether a context that was not closed is freed when the interpreter ends."""
        self._finalizer.atexit = wanted

    def abandon(self) -> None:
        """Close without freeing anything: llama.cpp must not be called any more."""
        self._finalizer.detach()
        self._closed = True

    def restore(self, length: int) -> None:
        """Take back what was appended after `length` tokens by a call that was interrupted."""
        self._recover(length)

    def adapt_threads(self, most: int) -> None:
        """Choose the number of threads, at most `most`, as it runs."""
        context, library = self._session.context, self._session.api

        def apply(count: int) -> None:
            library.llama_set_n_threads(context, count, count)
            self.threads = count

        self._threads = ThreadCount(most, apply)
        self.thread_changes = self._threads.changes

    def forward(self, tokens: Sequence[int], *, rows: int = 1) -> Scores:
        start, context = self.length, self._session.context
        if len(tokens) != 1 or rows != 1 or self._tree is not None or start >= self._cells.room:
            return super().forward(tokens, rows=rows)
        token = tokens[0]
        if not 0 <= token < self._size or context is None or self._lost:
            return super().forward(tokens, rows=rows)
        single = self._single
        single.tokens[0] = token
        single.positions[0] = start
        threads = self._threads
        try:
            began = perf_counter()
            code = self._decode(context, single.struct)
            if threads is not None:
                threads.record(1000 * (perf_counter() - began))
            if code != 0:
                self._fail(code)
            self._held.append(token)
            return self._read(_FIRST)
        except BaseException:  # a Ctrl-C may fall between the C call and the count
            self._recover(start)
            raise

    def _append_tree(self, tree: TokenTree, known: int, first_row: int) -> ArrayScores:
        if len(tree) > self._capacity:
            raise EngineError(f"a tree of {len(tree)} nodes; {self._capacity} fit into one batch")
        self._cells.make_room(self.length + len(tree))
        if tree.is_chain:
            self._owners = None
            self._laid = list(range(len(tree)))
            return self._decode_pieces(
                tree.tokens[known:], self.length + known, len(tree) - first_row, known
            )
        start, before = self.length, self._owners
        chain = [[1] for _ in range(known)] if before is None else before
        owners, joins = grown_owners(tree, known, chain)
        self._cells.tag(max(max(owned) for owned in owners), start)
        if known and before is None:
            # a pending chain is on sequence 0; the first branch of a tree is on sequence 1
            self._cells.branch_off(start, start + known)
        for source, branch, depth in joins:
            self._cells.share(source, branch, start, start + depth + 1)
        laid = [node for node in self._in_cells(tree) if node >= known]
        self._fill_tree(tree, laid, owners, first_row)
        code = self._run_batch()
        if code != 0:
            self._fail(code)
        self._owners = owners
        self._laid = [*self._laid[:known], *laid]
        entries = {node: entry for entry, node in enumerate(laid)}
        return self._read([entries[node] for node in range(first_row, len(tree))])

    def _keep(self, tree: TokenTree, path: Sequence[int]) -> None:
        start = self.length
        end = start + len(path)
        if self._owners is None:
            self._cut(end)
            return
        if path:
            self._cells.share(self._owners[path[-1]][0], 0, start, end)
            self._cells.reserve(self._rejected_before(tree, path, self._owners), start)
        self._cells.drop_branches(start)
        self._owners = None

    def _rejected_before(
        self, tree: TokenTree, path: Sequence[int], owners: list[list[int]]
    ) -> list[Place]:
        """The rejected nodes whose cells lie before the last one of `path`."""
        before = self._laid[: self._laid.index(path[-1])]
        kept = set(path)
        rejected = [node for node in before if node not in kept]
        depths = tree.depths() if rejected else []
        return [(owners[node][0], self.length + depths[node]) for node in rejected]

    def _free(self) -> None:
        self._finalizer()

    def _append(self, tokens: Sequence[int], rows: int) -> ArrayScores:
        self._cells.make_room(self.length + len(tokens))
        return self._decode_pieces(tokens, self.length, rows)

    def _in_cells(self, tree: TokenTree) -> list[int]:
        """The nodes in the order of their cells: what is most likely kept comes first."""
        return likeliest_first(tree)

    def _enter(self, tokens: Sequence[int], nodes: Sequence[int]) -> None:
        """Put tokens into the batch. `nodes`: their nodes, if it is a tree's."""
        self._batch.tokens[: len(tokens)] = tokens

    def _decode_pieces(
        self, tokens: Sequence[int], start: int, rows: int, node: int = 0
    ) -> ArrayScores:
        """Decode tokens on sequence 0 from position `start` on, a batch at a time.

        `node`: of a tree that is a chain, the node of the first of them.
        """
        count, batch = len(tokens), self._batch
        logits = np.empty((rows, self._size), dtype=np.float32)
        done = 0
        for begin in range(0, count, self._capacity):
            end = min(begin + self._capacity, count)
            size = end - begin
            first = max(0, count - rows - begin)  # of the tokens that want a row
            self._enter(tokens[begin:end], range(node + begin, node + end))
            batch.positions[:size] = np.arange(start + begin, start + end)
            batch.sequence_counts[:size] = 1
            batch.sequences[:size, 0] = 0
            batch.wanted[:size] = 0
            batch.wanted[first:size] = 1
            batch.struct.n_tokens = size
            code = self._run_batch()
            if code != 0:
                self._fail(code)
            if first < size:
                self._copy(range(first, size), logits[done:].ctypes.data)
                done += size - first
        return ArrayScores(logits)

    def _run_batch(self) -> int:
        """Decode the batch; its time counts for the number of threads."""
        began = perf_counter()
        code = int(self._decode(self._session.context, self._batch.struct))
        if self._threads is not None:
            self._threads.record(1000 * (perf_counter() - began), self._batch.struct.n_tokens)
        return code

    def _fill_tree(
        self, tree: TokenTree, laid: Sequence[int], owners: list[list[int]], first_row: int
    ) -> None:
        batch, count, depths = self._batch, len(laid), tree.depths()
        self._enter([tree.tokens[node] for node in laid], laid)
        batch.positions[:count] = [self.length + depths[node] for node in laid]
        batch.sequence_counts[:count] = [len(owners[node]) for node in laid]
        for entry, node in enumerate(laid):
            batch.sequences[entry, : len(owners[node])] = owners[node]
        batch.wanted[:count] = [node >= first_row for node in laid]
        batch.struct.n_tokens = count

    def _read(self, entries: Sequence[int]) -> ArrayScores:
        if len(entries) == 1:
            logits, target = self._rows.take()
            self._copy(entries, target)
        else:
            logits = np.empty((len(entries), self._size), dtype=np.float32)
            self._copy(entries, logits.ctypes.data)
        return ArrayScores(logits)

    def _copy(self, entries: Sequence[int], target: int) -> None:
        """Copy the rows of batch entries to an address.

        C overwrites its own memory at the next call.
        """
        context, size = self._session.context, self._row_bytes
        for entry in entries:
            address = self._row_address(context, entry)
            if address is None:
                raise failure(f"llama.cpp gave no scores for {self.info.name}")
            ctypes.memmove(target, address, size)
            target += size

    def _cut(self, length: int) -> None:
        if not self._cells.cut(length):
            raise EngineError(f"llama.cpp cannot cut {self.info.name} to {length} tokens")

    def _restore(self, length: int) -> bool:
        self._owners = None
        return self._cells.restore(length)

    def _fail(self, code: int) -> NoReturn:
        reasons = {1: "no room in the cache", 2: "it was interrupted", -1: "an invalid batch"}
        raise failure(f"llama.cpp failed on {self.info.name} ({reasons.get(code, f'code {code}')})")
