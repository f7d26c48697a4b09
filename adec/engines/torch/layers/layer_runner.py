"""Runs one decoder layer of transformers on the states of some tokens, whole or half."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from adec.engines.torch.layers.gathered_neurons import GatheredNeurons

AsMask = Callable[[Tensor], Tensor]
"""A mask of what is seen, in the form that the model's attention takes."""


class LayerRunner:
    """The layers of one model, which add to a state what attention and feed-forward say of it."""

    def __init__(self, base: Any, positions: Tensor, as_mask: AsMask) -> None:
        """`base`: transformers' model without its head. `positions`: (1, context)."""
        self.layers: Any = base.layers
        self._rotary: Any = base.rotary_emb
        self._positions = positions
        self._as_mask = as_mask
        self._turns: tuple[int, int, Any] = (0, 0, None)
        self.gathered: GatheredNeurons | None = None
        """Computes the feed-forward part of single tokens, where gates are set."""
        self.neurons_computed = 0
        """By it, of all layers together."""

    def run(
        self, layer: int, states: Tensor, start: int, cache: Any, *, attention: bool = True,
        feed_forward: bool = True,
    ) -> Tensor:  # fmt: skip
        """A layer's output for tokens from position `start` on, (tokens, width).

        Without `attention` or `feed_forward` that half adds nothing.
        """
        block = self.layers[layer]
        gathers = self.gathered is not None and len(states) == 1
        if attention and feed_forward and not gathers:
            whole: Tensor = block(states[None], **self._inputs(states, start, cache))[0]
            return whole
        if attention:
            states = states + self.attend(layer, states, start, cache)
        if not feed_forward:
            return states
        normed = block.post_attention_layernorm(states[None])[0]
        if self.gathered is None or not gathers:
            added: Tensor = block.mlp(normed[None])[0]
            return states + added
        out, count = self.gathered.run(layer, normed[0], start)
        self.neurons_computed += count
        return states + out

    def attend(self, layer: int, states: Tensor, start: int, cache: Any) -> Tensor:
        """What a layer's attention adds, (tokens, width). It writes keys and values to the cache,
        in every architecture."""
        block = self.layers[layer]
        normed = block.input_layernorm(states[None])
        added: Tensor = block.self_attn(hidden_states=normed, **self._inputs(states, start, cache))[
            0
        ][0]
        return added

    def _inputs(self, states: Tensor, start: int, cache: Any) -> dict[str, Any]:
        """What a layer needs beside the states of tokens from position `start` on."""
        end = start + len(states)
        if self._turns[:2] != (start, end):
            positions = self._positions[:, start:end]
            turns = self._rotary(states[None], position_ids=positions)
            self._turns = (start, end, (positions, turns, self._causal_mask(start, end)))
        positions, turns, mask = self._turns[2]
        return {
            "attention_mask": mask,
            "position_ids": positions,
            "position_embeddings": turns,
            "past_key_values": cache,
            "use_cache": True,
        }

    def _causal_mask(self, start: int, end: int) -> Tensor | None:
        """(1, 1, queries, keys) for queries from `start` on; None where all keys are seen."""
        if end - start == 1:
            return None
        seen = self._positions[:, :end] <= self._positions[:, start:end].T
        return self._as_mask(seen[None, None])
