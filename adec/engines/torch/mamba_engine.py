"""Mamba 2 through transformers: the states of its layers are copied and put back.

Only models that take a batch of tokens from the state they are in. Mamba 1 of transformers starts
every batch from an empty state, so that verifying drafts would be silently wrong; it is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from adec.engines.base import ModelHeader, OpenOptions
from adec.engines.snapshots import Snapshot, SnapshotRewind
from adec.engines.torch.torch_engine import CHUNK, TorchEngine
from adec.engines.torch.torch_weights import Weights

_STATES = ("conv_states", "recurrent_states", "has_previous_state")


class MambaEngine(SnapshotRewind, TorchEngine):
    """A `TorchEngine` that rewinds by restoring states and reading again."""

    ARCHITECTURES = frozenset({"mamba2"})
    cache_argument = "cache_params"

    def __init__(self, header: ModelHeader, options: OpenOptions, weights: Weights) -> None:
        super().__init__(header, options, weights)
        self.capabilities = header.capabilities

    def _copy_state(self) -> Any:
        with self._inference(1):
            return [
                {name: _copy(getattr(layer, name)) for name in _STATES}
                for layer in self._cache.layers
            ]

    def _put_state(self, snapshot: Snapshot) -> bool:
        with self._inference(1):
            for layer, state in zip(self._cache.layers, snapshot.state, strict=True):
                for name in _STATES:
                    # later forwards write into the tensors of the layer
                    setattr(layer, name, _copy(state[name]))
        return True

    def _clear_state(self) -> None:
        self._cache, _ = self._new_cache()

    def _read_on(self, tokens: Sequence[int], start: int) -> None:
        with self._inference(len(tokens)):
            for at in range(0, len(tokens), CHUNK):
                part = tokens[at : at + CHUNK]
                first = start + at
                self._run(part, self._positions[:, first : first + len(part)], 0, None)


def _copy(states: dict[int, Any]) -> dict[int, Any]:
    return {
        index: state.clone() if isinstance(state, Tensor) else state
        for index, state in states.items()
    }
