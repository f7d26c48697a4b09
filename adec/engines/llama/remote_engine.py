"""A GGUF model whose layers run on RPC servers: the engine of llama.cpp, every call contained."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from adec.engines.base import Capability, ModelHeader, ModelInfo, OpenOptions
from adec.engines.llama.contained import Containment, containment
from adec.engines.llama.llama_engine import LlamaEngine
from adec.engines.llama.rpc_addresses import parse_servers
from adec.engines.llama.rpc_devices import add_servers, check_support
from adec.engines.llama.rpc_probe import probe_all
from adec.engines.vocabularies.vocabulary import Tokenizer, Vocabulary
from adec.errors import EngineError
from adec.events.records import ThreadChange
from adec.signals import Scores
from adec.tree import TokenTree

T = TypeVar("T")


class RemoteEngine:
    """See `adec.engines.base.Engine` for the contract.

    When a server is lost, the call under way and every later one raise `Lost`, whose memory cannot
    be freed before the process ends.
    """

    @classmethod
    def open(cls, header: ModelHeader, options: OpenOptions) -> RemoteEngine:
        """Ask the servers of `options.rpc` who they are, then send them the weights.

        Raises EngineError where llama.cpp has no RPC, a server does not answer as it should, or as
        `LlamaEngine.open` does.
        """
        check_support()
        servers = parse_servers(",".join(options.rpc or ()), "the RPC servers")
        contained = containment()
        if not contained.lost:
            # each serves one client, which may be this process
            probe_all(tuple(server for server in servers if not contained.knows(server)))
        contained.watch(servers)

        def load() -> LlamaEngine:
            remote = add_servers(servers, contained.heard)
            return LlamaEngine.open(header, options, remote)

        return cls(contained.call(load), contained, tuple(map(str, servers)))

    def __init__(
        self, inner: LlamaEngine, contained: Containment, servers: tuple[str, ...]
    ) -> None:
        """Use `open`."""
        self._inner, self._contained = inner, contained
        self._info = dataclasses.replace(inner.info, servers=servers)
        # a process that ends hangs up, and the servers free everything; asking them might hang
        inner.free_at_exit(False)

    @property
    def info(self) -> ModelInfo:
        return self._info

    @property
    def vocabulary(self) -> Vocabulary:
        return self._inner.vocabulary

    @property
    def tokenizer(self) -> Tokenizer:
        return self._inner.tokenizer

    @property
    def capabilities(self) -> frozenset[Capability]:
        return self._inner.capabilities

    @property
    def context(self) -> int:
        return self._inner.context

    @property
    def length(self) -> int:
        return self._inner.length

    def common(self, tokens: Sequence[int]) -> int:
        """See `Engine.common`."""
        return self._inner.common(tokens)

    @property
    def branches(self) -> int:
        return self._inner.branches

    @property
    def at_once(self) -> int:
        return self._inner.at_once

    @property
    def rewinds_by_reading(self) -> bool:
        return self._inner.rewinds_by_reading

    @property
    def threads(self) -> int | None:
        return self._inner.threads

    @property
    def in_order(self) -> bool:
        return self._inner.in_order

    @property
    def thread_changes(self) -> Sequence[ThreadChange]:
        return self._inner.thread_changes

    @property
    def dtype(self) -> str | None:
        return self._inner.dtype

    def forward(self, tokens: Sequence[int], *, rows: int = 1) -> Scores:
        """See `Engine.forward`."""
        return self._call(lambda: self._inner.forward(tokens, rows=rows))

    def forward_tree(self, tree: TokenTree, *, first_row: int = 0) -> Scores:
        """See `Engine.forward_tree`."""
        return self._call(lambda: self._inner.forward_tree(tree, first_row=first_row))

    def keep(self, path: Sequence[int]) -> None:
        """See `Engine.keep`."""
        self._call(lambda: self._inner.keep(path))

    def rewind(self, length: int) -> None:
        """See `Engine.rewind`."""
        self._call(lambda: self._inner.rewind(length))

    def close(self) -> None:
        """Free the memory here and there; where a server is lost, nothing can be freed."""
        if not self._contained.lost:
            with suppress(EngineError):  # what was computed is not worse for it
                self._contained.call(self._inner.close)
        if self._contained.lost:
            self._inner.abandon()

    def _call(self, function: Callable[[], T]) -> T:
        before = self._inner.length
        try:
            return self._contained.call(function)
        except EngineError:
            raise
        except BaseException:  # a Ctrl-C: the call has ended since, and may have succeeded
            if not self._contained.lost:
                self._contained.call(lambda: self._inner.restore(before))
            raise
