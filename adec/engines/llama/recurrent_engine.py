"""GGUF models with recurrent layers: llama.cpp gives copies of their state.

Of a hybrid model only the recurrent layers are copied, since the cache of the others can be cut.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

from adec.engines.llama.llama_engine import LlamaEngine
from adec.engines.llama.llama_library import failure
from adec.engines.snapshots import Snapshot, SnapshotRewind

_RECURRENT_ONLY = 1
"""llama.cpp's LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY."""


class RecurrentEngine(SnapshotRewind, LlamaEngine):
    """A `LlamaEngine` that rewinds by restoring a state and reading again."""

    def _copy_state(self) -> Any:
        library, context = self._session.api, self._session.context
        size = int(library.llama_state_seq_get_size_ext(context, 0, _RECURRENT_ONLY))
        state = (ctypes.c_uint8 * size)()
        copied = int(library.llama_state_seq_get_data_ext(context, state, size, 0, _RECURRENT_ONLY))
        if size == 0 or copied != size:
            raise failure(f"llama.cpp gave no copy of the state of {self.info.name}")
        return state

    def _put_state(self, snapshot: Snapshot) -> bool:
        library, session, state = self._session.api, self._session, snapshot.state
        read = library.llama_state_seq_set_data_ext(
            session.context, state, len(state), 0, _RECURRENT_ONLY
        )
        # the layers with attention still hold what came after
        return int(read) == len(state) and bool(
            library.llama_memory_seq_rm(session.memory, 0, snapshot.length, -1)
        )

    def _clear_state(self) -> None:
        if self._session.memory is not None:
            self._session.api.llama_memory_clear(self._session.memory, False)

    def _read_on(self, tokens: Sequence[int], start: int) -> None:
        self._decode_pieces(tokens, start, 0)
