"""One pass through a layered module, in which pseudo positions join the tokens on their way up.

Tokens come first, then the first pseudo position of every carrier, then the second of every one,
and so on: so those that have entered at some layer are always the first of all. Without a cache the
pass can be differentiated, for learning what the pseudo positions are made of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from adec.tree import TokenTree


@dataclass(frozen=True)
class PseudoTensors:
    """`PseudoStates` on the model's device, in its type."""

    depths: tuple[int, ...]
    shifts: Tensor
    maps: Tensor | None
    adapters: Mapping[str, tuple[Tensor, Tensor]]

    @property
    def count(self) -> int:
        """Pseudo positions behind a carrier."""
        return len(self.depths)


@dataclass(frozen=True)
class Layout:
    """Where the positions of one pass stand, and what each of them sees."""

    tokens: Tensor
    """(nodes,): the ids."""
    carriers: Tensor
    places: Tensor
    """(1, nodes + count * carriers): the position of each in the sequence."""
    seen: Tensor
    """Booleans, (nodes + count * carriers, trunk + nodes + count * carriers)."""

    @property
    def nodes(self) -> int:
        return len(self.tokens)


def lay_out(
    tree: TokenTree, carriers: Sequence[int], count: int, start: int, device: torch.device
) -> Layout:
    """The layout of a tree behind a trunk of `start` tokens, with `count` behind each carrier."""
    depths = torch.tensor(tree.depths(), device=device) + start
    nodes, held = len(tree), torch.tensor(list(carriers), dtype=torch.long, device=device)
    above = torch.from_numpy(tree.ancestor_mask()).to(device)
    steps = torch.arange(1, count + 1, device=device)
    places = torch.cat((depths, (depths[held][None] + steps[:, None]).flatten()))
    # a pseudo position sees what its carrier sees, and those of its carrier up to itself
    own = torch.eye(len(held), dtype=torch.bool, device=device)
    before = torch.ones(count, count, dtype=torch.bool, device=device).tril()
    size = len(places)
    seen = torch.zeros(size, start + size, dtype=torch.bool, device=device)
    seen[:, :start] = True
    seen[:nodes, start : start + nodes] = above
    seen[nodes:, start : start + nodes] = above[held].repeat(count, 1)
    seen[nodes:, start + nodes :] = torch.kron(before, own)
    ids = torch.tensor(tree.tokens, device=device)
    return Layout(ids, held, places[None], seen)


def run_ahead(
    base: Any,
    pseudo: PseudoTensors,
    layout: Layout,
    as_mask: Callable[[Tensor], Tensor],
    cache: Any = None,
) -> Tensor:
    """States above the highest layer, (nodes + count * carriers, width), before the norm.

    `base`: a module with `embed_tokens`, `rotary_emb` and `layers`. `cache`: keys and values of the
    trunk; those of all positions are added to it.
    """
    states = base.embed_tokens(layout.tokens)[None]
    start = layout.seen.shape[1] - layout.seen.shape[0]
    entered, inputs = 0, dict[str, Any]()
    with adapted(base.layers, pseudo.adapters, layout.nodes):
        for depth, layer in enumerate(base.layers):
            while entered < pseudo.count and pseudo.depths[entered] <= depth:
                states = torch.cat((states, _enter(pseudo, entered, states, layout)), dim=1)
                entered, inputs = entered + 1, {}
            if not inputs:
                size = states.shape[1]
                places = layout.places[:, :size]
                inputs = {
                    "attention_mask": as_mask(layout.seen[None, None, :size, : start + size]),
                    "position_ids": places,
                    "position_embeddings": base.rotary_emb(states, position_ids=places),
                    "past_key_values": cache,
                    "use_cache": cache is not None,
                }
            states = layer(states, **inputs)
    result: Tensor = states[0]
    return result


def _enter(pseudo: PseudoTensors, index: int, states: Tensor, layout: Layout) -> Tensor:
    """The states of pseudo position `index` of every carrier, (1, carriers, width)."""
    if pseudo.maps is None:
        return pseudo.shifts[index].expand(1, len(layout.carriers), -1)
    return linear(states[:, layout.carriers], pseudo.maps[index], pseudo.shifts[index])


@contextmanager
def adapted(
    layers: Any, adapters: Mapping[str, tuple[Tensor, Tensor]], first: int
) -> Iterator[None]:
    """Within it, linear layers add what their adapters say, at positions from `first` on."""
    hooks = []
    try:
        for name, (down, up) in adapters.items():
            index, _, inner = name.partition(".")
            module = layers[int(index)].get_submodule(inner)
            hooks.append(module.register_forward_hook(partial(_add, down, up, first)))
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _add(
    down: Tensor, up: Tensor, first: int, module: Any, args: tuple[Tensor, ...], output: Tensor
) -> Tensor | None:
    if output.shape[1] <= first:
        return None
    more = linear(linear(args[0][:, first:], down), up)
    return torch.cat((output[:, :first], output[:, first:] + more), dim=1)
