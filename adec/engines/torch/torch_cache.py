"""A KV cache for transformers' models that grows in place and can be cut back to any length.

transformers' own layers concatenate at every token, which copies the whole cache, and a sliding
layer drops what left its window, so it cannot be rewound. These layers keep everything in one
buffer and return views.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PretrainedConfig
from transformers.cache_utils import Cache, DummyLayer, DynamicLayer, DynamicSlidingWindowLayer

_FIRST_CAPACITY = 256


class GrowingLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """Keys and values of one layer, shape (1, heads, capacity, head size); `length` are valid."""

    is_sliding = False

    def __init__(self, limit: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.length = 0
        self._limit = limit
        self._key_buffer: Tensor | None = None
        self._value_buffer: Tensor | None = None

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.dtype, self.device = key_states.dtype, key_states.device
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append to the valid positions; views of all that the new queries may see."""
        start, count = self.length, key_states.shape[-2]
        end = start + count
        keys, values = self._key_buffer, self._value_buffer
        if keys is None or values is None or end > keys.shape[-2]:
            keys, values = self._grow(end, key_states, value_states)
        keys.narrow(2, start, count).copy_(key_states)
        values.narrow(2, start, count).copy_(value_states)
        self.length = end
        first = self._first_visible(start)
        self.keys = keys.narrow(2, first, end - first)
        self.values = values.narrow(2, first, end - first)
        return self.keys, self.values

    def get_seq_length(self) -> int:
        return self.length

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """(number of positions that `update` will return, the first of them)."""
        first = self._first_visible(self.length)
        return self.length + query_length - first, first

    def cut(self, length: int) -> None:
        """Keep the first `length` positions, 0 <= length <= self.length."""
        self.length = length

    def gather(self, start: int, offsets: Sequence[int]) -> None:
        """Of the positions from `start` on, keep those at `offsets` (rising) and close the gaps."""
        still = next((i for i, offset in enumerate(offsets) if i != offset), len(offsets))
        moved = offsets[still:]
        if moved and self._key_buffer is not None and self._value_buffer is not None:
            source = torch.tensor([start + offset for offset in moved], device=self.device)
            for buffer in (self._key_buffer, self._value_buffer):
                # index_select copies first, so the ranges may overlap
                kept = buffer.index_select(2, source)
                buffer.narrow(2, start + still, len(moved)).copy_(kept)
        self.length = start + len(offsets)

    def crop(self, tokens_to_remove: int) -> None:
        """Called by transformers, with a negative count."""
        self.cut(max(0, self.length - abs(tokens_to_remove)))

    def reset(self) -> None:
        self.length = 0

    def _first_visible(self, start: int) -> int:
        """The earliest position that queries from `start` on may see."""
        del start
        return 0

    def _grow(self, needed: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Larger buffers, at least doubled, with the valid positions copied over."""
        if not self.is_initialized:
            self.lazy_initialization(keys, values)
        capacity = _FIRST_CAPACITY
        while capacity < needed:
            capacity *= 2
        capacity = max(needed, min(capacity, self._limit))
        buffers: list[Tensor] = []
        for old, states in ((self._key_buffer, keys), (self._value_buffer, values)):
            new = states.new_empty((*states.shape[:2], capacity, states.shape[-1]))
            if old is not None:
                new.narrow(2, 0, self.length).copy_(old.narrow(2, 0, self.length))
            buffers.append(new)
        self._key_buffer, self._value_buffer = buffers
        return buffers[0], buffers[1]


class GrowingWindowLayer(GrowingLayer):  # type: ignore[no-untyped-call]
    """For a layer with a sliding window: keeps everything, returns the window only."""

    is_sliding = True

    def __init__(self, limit: int, window: int) -> None:
        super().__init__(limit)
        self.sliding_window = window

    def _first_visible(self, start: int) -> int:
        return max(start - self.sliding_window + 1, 0)


def new_cache(config: PretrainedConfig, limit: int) -> tuple[Cache, bool]:
    """An empty cache for at most `limit` positions, and whether all its layers can be cut."""
    cache = DynamicCache(config=config)
    whole = bool(cache.layers)
    for i, layer in enumerate(cache.layers):
        if type(layer) is DynamicLayer:
            cache.layers[i] = GrowingLayer(limit)
        elif type(layer) is DynamicSlidingWindowLayer:
            cache.layers[i] = GrowingWindowLayer(limit, layer.sliding_window)
        elif type(layer) is not DummyLayer:
            whole = False
    return cache, whole


def cut(cache: Cache, length: int) -> None:
    """Cut every layer to `length` positions."""
    cut_each(cache, [length] * len(cache.layers))


def cut_each(cache: Cache, lengths: Sequence[int]) -> None:
    """Cut each layer to a length of its own."""
    for layer, length in zip(cache.layers, lengths, strict=True):
        if isinstance(layer, GrowingLayer):
            # a failed forward leaves the layers that it did not reach shorter
            layer.cut(min(length, layer.length))


def gather(cache: Cache, start: int, offsets: Sequence[int]) -> None:
    """`GrowingLayer.gather` on every layer."""
    for layer in cache.layers:
        if isinstance(layer, GrowingLayer):
            layer.gather(start, offsets)
