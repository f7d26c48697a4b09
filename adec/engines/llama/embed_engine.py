"""GGUF models that read vectors where a tree has them: batches of embeddings through llama.cpp.

A batch of llama.cpp holds either ids or vectors. So a tree with vectors goes in as vectors whole,
the rows of its tokens turned into floats by the function with which llama.cpp looks them up: scores
are bit for bit those of the ids. The file is only read; nothing of it is copied.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from adec.engines.base import ModelHeader
from adec.engines.llama.gguf.gguf_header import EMBEDDINGS, ROW_FUNCTIONS
from adec.engines.llama.gguf.gguf_split import read_model
from adec.engines.llama.gguf.gguf_values import Tensor
from adec.engines.llama.llama_context import LlamaContext
from adec.engines.llama.llama_engine import LlamaEngine
from adec.engines.llama.llama_library import ggml_function
from adec.engines.sequence import EmbedSequence
from adec.errors import EngineError
from adec.tree import TokenTree


class LlamaEmbedEngine(EmbedSequence, LlamaEngine):
    """A `LlamaEngine` with the capability "vectors"; see `adec.engines.protocols.EmbedEngine`."""

    def __init__(
        self, header: ModelHeader, session: LlamaContext, context: int, branches: int
    ) -> None:
        """Use `open`."""
        super().__init__(header, session, context, branches)
        self.capabilities = header.capabilities
        self._table: EmbeddingTable | None = None

    @property
    def rows_of(self) -> EmbeddingTable:
        """The model's embeddings, found in its file at the first use."""
        if self._table is None:
            found = read_model(self.info.path).tensors[EMBEDDINGS]
            if found.shape[1:] != (self.info.vocabulary,):
                raise EngineError(f"{self.info.path} changed since it was opened")
            self._table = EmbeddingTable(found)
        return self._table

    @property
    def width(self) -> int:
        """See `EmbedEngine.width`."""
        return self.rows_of.width

    def embeddings(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """See `EmbedEngine.embeddings`."""
        self._check_ids(tokens)
        return self.rows_of.rows(tokens)

    def _in_cells(self, tree: TokenTree) -> list[int]:
        lost: set[int] = set()
        for node, parent in enumerate(tree.parents):
            if node in self._vectors or parent in lost:
                lost.add(node)
        # what is never kept comes last, so that its cells are free again at once
        return sorted(super()._in_cells(tree), key=lost.__contains__)

    def _enter(self, tokens: Sequence[int], nodes: Sequence[int]) -> None:
        batch = self._batch
        if not self._vectors:
            if batch.vectors is not None:
                batch.take_vectors(None)
            super()._enter(tokens, nodes)
            return
        rows = self.rows_of.rows(tokens)
        for entry, node in enumerate(nodes):
            if node in self._vectors:
                rows[entry] = self._vectors[node]
        batch.take_vectors(rows)


class EmbeddingTable:
    """The embeddings of a GGUF file, looked up row by row."""

    def __init__(self, tensor: Tensor) -> None:
        """`tensor`: of shape (width, vocabulary) and a type in `ROW_FUNCTIONS`."""
        self.width, count = tensor.shape
        shape = (count, tensor.bytes // count)
        self._data = np.memmap(tensor.path, np.uint8, "r", offset=tensor.start, shape=shape)
        name = ROW_FUNCTIONS[tensor.type]
        address = ctypes.c_void_p
        self._turn = ggml_function(name, None, address, address, ctypes.c_int64) if name else None

    def rows(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """The rows of these tokens, shape (tokens, width)."""
        raw = np.array(self._data[np.asarray(tokens, dtype=np.int64)])
        if self._turn is None:
            return raw.view(np.float32)
        rows = np.empty((len(tokens), self.width), dtype=np.float32)
        # whole blocks make a row, so that many rows are one long one
        self._turn(raw.ctypes.data, rows.ctypes.data, rows.size)
        return rows
