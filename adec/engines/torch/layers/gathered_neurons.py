"""Feed-forward layers of which only some neurons are computed, on gathered rows.

A neuron f of a gated feed-forward layer is a row of its gate, a row of its up-projection and a
column of its down-projection: a_f = act(g_f x) (u_f x). The output is the sum of a_f d_f. Columns
lie apart in memory, so each down-projection is kept once more, transposed: a third of the
feed-forward weights, made when a layer first needs it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from adec.engines.neuron_gates import NeuronGates


class GatheredNeurons:
    """Runs the feed-forward part of single tokens, as gates choose."""

    def __init__(self, layers: Any, gates: NeuronGates, like: Tensor) -> None:
        """`layers`: transformers' decoder layers. `like`: a tensor of their type and device."""
        self._layers = layers
        self._inner = torch.from_numpy(gates.inner).to(like)
        self._outer = torch.from_numpy(gates.outer).to(like)
        self._bias = torch.from_numpy(gates.bias).to(like)
        self._gates = gates
        self._columns: dict[int, Tensor] = {}

    def choose(self, layer: int, state: Tensor, position: int) -> Tensor:
        """Numbers of the neurons that a token at `position` needs, from `state`, shape (width,)."""
        logits = self._outer[layer] @ (self._inner[layer] @ state) + self._bias[layer]
        chosen = (logits >= self._gates.threshold).nonzero().squeeze(1)
        if self._gates.lot is None:
            return chosen
        seed = (self._gates.lot * 1_000_003 + position) * 4099 + layer
        rng = torch.Generator().manual_seed(seed % 2**63)
        drawn = torch.randperm(len(logits), generator=rng)[: len(chosen)]
        return drawn.sort().values.to(chosen.device)

    def run(self, layer: int, state: Tensor, position: int) -> tuple[Tensor, int]:
        """The layer's feed-forward output, shape (width,), and how many neurons it took."""
        block = self._layers[layer].mlp
        chosen = self.choose(layer, state, position)
        inner = _activations(block, chosen, state)
        if layer not in self._columns:
            self._columns[layer] = block.down_proj.weight.T.contiguous()
        out = inner @ self._columns[layer].index_select(0, chosen)
        shift = block.down_proj.bias
        return (out if shift is None else out + shift), len(chosen)


def _activations(block: Any, at: Tensor, state: Tensor) -> Tensor:
    """Of some neurons alone."""
    fused = getattr(block, "gate_up_proj", None)
    if fused is None:
        gate, up = _rows(block.gate_proj, at, state), _rows(block.up_proj, at, state)
        active: Tensor = block.act_fn(gate) * up
        return active
    count = len(fused.weight) // 2
    active = block.activation_fn(_rows(fused, at, state)) * _rows(fused, at + count, state)
    return active


def _rows(linear: Any, at: Tensor, state: Tensor) -> Tensor:
    """Some rows of a projection."""
    shift = None if linear.bias is None else linear.bias.index_select(0, at)
    return torch.nn.functional.linear(state, linear.weight.index_select(0, at), shift)


def neurons_of(block: Any) -> int:
    """Neurons of a feed-forward layer."""
    return int(block.down_proj.weight.shape[1])


def heats(block: Any, states: Tensor) -> tuple[Tensor, Tensor]:
    """Activations of all neurons for states (tokens, width), and how much each moves the output:
    its size by the length of its column. Both (tokens, neurons)."""
    fused = getattr(block, "gate_up_proj", None)
    if fused is None:
        active = block.act_fn(block.gate_proj(states)) * block.up_proj(states)
    else:
        gate, up = fused(states).chunk(2, dim=-1)
        active = block.activation_fn(gate) * up
    return active, active.abs() * block.down_proj.weight.norm(dim=0)
