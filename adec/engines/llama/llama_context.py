"""What an engine of llama.cpp owns: a context, its tokenizer, batches, and arrays for rows."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adec.engines.llama.llama_library import (
    SharedModel,
    acquire_model,
    failure,
    library,
    log,
    release_model,
)
from adec.errors import EngineError

MAX_TEXT = 1 << 28
"""Bytes of text that a tokenizer takes at once; llama.cpp counts in 32 bits."""

_KEPT = 4
"""Plain decoding holds one row while it computes the next; few methods hold more."""
_UNHELD = 3
"""References to an unused array: its pair, the loop variable, the argument of `getrefcount`."""


class LlamaContext:
    """A context on a shared model; `close` it at the end."""

    def __init__(
        self,
        model: SharedModel,
        *,
        tokens: int,
        sequences: int,
        threads: int,
        batch_threads: int,
        batch: int = 512,
        memory: bool = True,
    ) -> None:
        """Takes over one share of `model`, and returns it when this fails.

        `memory`: whether the model keeps keys and values. `batch`: most tokens of a forward.

        Raises EngineError when llama.cpp refuses, mostly for lack of memory.
        """
        self.api = library()
        self.model = model
        self.closed = False
        parameters = self.api.llama_context_default_params()
        # llama.cpp rounds up to 256 anyway, and aborts on fewer cells than sequences
        parameters.n_ctx = max(tokens, 256)
        parameters.n_batch = parameters.n_ubatch = batch
        parameters.n_seq_max = sequences
        # one pool of cells for all sequences, so that a token can belong to several branches
        parameters.kv_unified = True
        # keep cells that slid out of a window, since a rewind may need them
        parameters.swa_full = True
        parameters.n_threads = threads
        parameters.n_threads_batch = batch_threads
        parameters.no_perf = True
        log.take_error()
        self.context = self.api.llama_init_from_model(model.pointer, parameters)
        self.memory = self.api.llama_get_memory(self.context) if self.context else None
        if not self.context or (memory and not self.memory):
            error = failure(
                f"llama.cpp cannot open a context of {tokens} tokens", "try a smaller --ctx"
            )
            self.close()
            raise error

    def close(self) -> None:
        """Free the context and return the share of the model. Calling it twice is harmless."""
        if self.closed:
            return
        self.closed = True
        if self.context:
            self.api.llama_free(self.context)
        self.context = self.memory = None
        release_model(self.model)


class LlamaVocabulary:
    """The vocabulary of a GGUF file without its weights; `close` it at the end."""

    def __init__(self, path: Path) -> None:
        """Raises EngineError when llama.cpp refuses."""
        self.api = library()
        self.model = acquire_model(path, gpu_layers=0, mmap=True, weights=False)
        self.closed = False

    def close(self) -> None:
        """Return the share of the vocabulary. Calling it twice is harmless."""
        if not self.closed:
            self.closed = True
            release_model(self.model)


class Batch:
    """A reusable llama_batch over numpy arrays: per token its id, position, sequences, `wanted`."""

    def __init__(self, capacity: int, sequences: int) -> None:
        module = library()
        self.tokens = np.zeros(capacity, dtype=np.int32)
        self.positions = np.zeros(capacity, dtype=np.int32)
        self.sequence_counts = np.ones(capacity, dtype=np.int32)
        self.sequences = np.zeros((capacity, sequences), dtype=np.int32)
        self.wanted = np.zeros(capacity, dtype=np.int8)
        int32 = ctypes.POINTER(ctypes.c_int32)
        stride = self.sequences.strides[0]
        start = self.sequences.ctypes.data
        self._rows = (int32 * capacity)(
            *(ctypes.cast(start + i * stride, int32) for i in range(capacity))
        )
        self.vectors: NDArray[np.float32] | None = None
        self.struct = module.llama_batch(
            n_tokens=0,
            token=self.tokens.ctypes.data_as(int32),
            embd=None,
            pos=self.positions.ctypes.data_as(int32),
            n_seq_id=self.sequence_counts.ctypes.data_as(int32),
            seq_id=ctypes.cast(self._rows, ctypes.POINTER(int32)),
            logits=self.wanted.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
        )

    def take_vectors(self, vectors: NDArray[np.float32] | None) -> None:
        """Read `vectors`, shape (tokens, width), float32 and contiguous, in place of the ids.

        None: the ids again.
        """
        self.vectors = vectors  # C reads it as long as it is set
        int32, floats = ctypes.POINTER(ctypes.c_int32), ctypes.POINTER(ctypes.c_float)
        self.struct.token = self.tokens.ctypes.data_as(int32) if vectors is None else None
        self.struct.embd = None if vectors is None else vectors.ctypes.data_as(floats)


class LlamaTokenizer:
    """llama.cpp's tokenizer of a GGUF vocabulary."""

    def __init__(self, session: LlamaContext | LlamaVocabulary) -> None:
        self._session = session
        self._size = int(session.api.llama_vocab_n_tokens(session.model.vocabulary))

    def encode(self, text: str, *, special: bool) -> list[int]:
        """See `Tokenizer.encode`. Lone surrogates become "?"; SentencePiece may put a space first.

        Raises EngineError when the engine is closed or the text is longer than MAX_TEXT bytes.
        """
        if self._session.closed:
            raise EngineError("the model of this tokenizer is closed")
        raw = text.encode("utf-8", errors="replace")
        if len(raw) > MAX_TEXT:
            raise EngineError(f"a text of {len(raw)} bytes; {MAX_TEXT} can be read at once")
        library, vocabulary = self._session.api, self._session.model.vocabulary
        room = len(raw) // 2 + 16
        while True:
            ids = (ctypes.c_int32 * room)()
            count = library.llama_tokenize(vocabulary, raw, len(raw), ids, room, False, special)
            if count >= 0:
                return self._checked(ids[:count])
            if -count <= room:
                raise failure("llama.cpp cannot read this text as tokens")
            room = -count

    def _checked(self, ids: list[int]) -> list[int]:
        # a vocabulary without a token for unknown text yields -1
        if ids and (min(ids) < 0 or max(ids) >= self._size):
            raise EngineError("the vocabulary of this model has no tokens for this text")
        return ids


class SpareRows:
    """Arrays of shape (1, vocabulary), float32, reused as soon as nobody holds them.

    Between two forwards of 4 ms, with cold caches, allocating 32,000 logits and asking for their
    address takes longer than copying the values (12 microseconds).
    """

    def __init__(self, vocabulary: int) -> None:
        self._vocabulary = vocabulary
        self._rows: list[tuple[NDArray[np.float32], int]] = []

    def take(self) -> tuple[NDArray[np.float32], int]:
        """An unused array with arbitrary values, not even viewed by others, and its address."""
        for row, address in self._rows:
            if sys.getrefcount(row) == _UNHELD:
                return row, address
        row = np.empty((1, self._vocabulary), np.float32)
        address = row.ctypes.data
        if len(self._rows) < _KEPT:
            self._rows.append((row, address))
        return row, address
