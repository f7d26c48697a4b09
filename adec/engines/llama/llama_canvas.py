"""Masked diffusion GGUF models through llama.cpp: every forward computes the whole canvas.

llama.cpp keeps no keys and values for these architectures, so none can be reused. Canvases of a
batch run one after the other: as sequences of one batch they took 0.99, 1.04 and 1.4 times as long
for two, four and eight canvases of 96 positions on a processor, and their rows were no longer the
same bits.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from adec.engines.base import ModelHeader, OpenOptions
from adec.engines.canvas_model import CanvasModel
from adec.engines.llama.llama_context import Batch, LlamaContext, LlamaTokenizer
from adec.engines.llama.llama_library import (
    acquire_model,
    default_threads,
    failure,
    function_returning_address,
)
from adec.errors import EngineError

CONTEXT = 2048
"""Tokens of a canvas unless the caller wants another number: all of them are one batch, for which
llama.cpp reserves a row of logits each."""


class LlamaCanvas(CanvasModel):
    """One llama.cpp context on a GGUF model; see `adec.engines.protocols.CanvasEngine`."""

    @classmethod
    def open(cls, header: ModelHeader, options: OpenOptions) -> LlamaCanvas:
        """Load the weights (or share loaded ones) and reserve the context.

        Raises EngineError when the options contradict the model, llama.cpp refuses, or memory does
        not suffice.
        """
        if options.rpc:
            raise EngineError(
                f"{header.info.path.name} is a diffusion model, which runs on this machine only",
                hint="leave out the RPC servers",
            )
        limit = header.info.context_limit
        context = min(limit, CONTEXT) if options.context is None else options.context or limit
        if not 1 <= context <= limit:
            raise EngineError(
                f"{header.info.path} has no context of {context} tokens",
                hint=f"it reads 1 to {limit}",
            )
        threads = options.batch_threads or options.threads
        if threads is None:
            threads = default_threads(header.info.parameters)
        if not 1 <= threads <= 1024:
            raise EngineError(f"{threads} threads are no count from 1 to 1024")
        model = acquire_model(header.info.path, gpu_layers=options.gpu_layers, mmap=options.mmap)
        session = LlamaContext(
            model,
            tokens=context,
            sequences=1,
            threads=threads,
            batch_threads=threads,
            batch=context,
            memory=False,
        )
        try:
            engine = cls(header, session, context)
            engine.threads = threads
            return engine
        except BaseException:
            session.close()
            raise

    def __init__(self, header: ModelHeader, session: LlamaContext, context: int) -> None:
        """Use `open`."""
        self._session = session
        # runs also at interpreter exit: freeing a context after the library's teardown would crash
        self._finalizer = weakref.finalize(self, session.close)
        super().__init__(header, LlamaTokenizer(session), context=context)
        library = session.api
        loaded = int(library.llama_vocab_n_tokens(session.model.vocabulary))
        if loaded != self.info.vocabulary:
            raise EngineError(
                f"{self.info.path} changed: {loaded} tokens, not {self.info.vocabulary}"
            )
        library.llama_set_causal_attn(session.context, False)
        self._batch = Batch(context, 1)
        self._row_address = function_returning_address(
            library, "llama_get_logits_ith", ctypes.c_void_p, ctypes.c_int32
        )

    def _rows(
        self, canvas: Sequence[int], rows: Sequence[int], refresh: Sequence[int] | None
    ) -> NDArray[np.float32]:
        batch, context, size = self._batch, self._session.context, len(canvas)
        batch.tokens[:size] = canvas
        batch.positions[:size] = np.arange(size)
        batch.sequence_counts[:size] = 1
        batch.sequences[:size, 0] = 0
        # the last block and the head run for these alone
        batch.wanted[:size] = 0
        batch.wanted[list(rows)] = 1
        batch.struct.n_tokens = size
        code = int(self._session.api.llama_decode(context, batch.struct))
        if code != 0:
            raise failure(f"llama.cpp failed on {self.info.name} (code {code})")
        logits = np.empty((len(rows), self.info.vocabulary), dtype=np.float32)
        target, bytes_ = logits.ctypes.data, 4 * self.info.vocabulary
        for row in rows:
            address = self._row_address(context, row)
            if address is None:
                raise failure(f"llama.cpp gave no scores for {self.info.name}")
            ctypes.memmove(target, address, bytes_)
            target += bytes_
        return logits

    def _drop(self) -> None:
        pass

    def _free(self) -> None:
        self._finalizer()
