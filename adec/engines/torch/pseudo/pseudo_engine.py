"""A layered torch model that foresees while it reads; see `adec.engines.protocols.PseudoEngine`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from adec.engines.base import ModelHeader, OpenOptions
from adec.engines.protocols import PseudoStates
from adec.engines.torch.layers.layer_engine import TorchLayerEngine
from adec.engines.torch.pseudo.pseudo_run import Layout, PseudoTensors, lay_out, run_ahead
from adec.engines.torch.torch_cache import cut
from adec.engines.torch.torch_weights import Weights
from adec.errors import EngineError
from adec.signals import Scores
from adec.tree import TokenTree

MOST = 16
"""Pseudo positions behind a carrier."""


class TorchPseudoEngine(TorchLayerEngine):
    """A `TorchLayerEngine` with the capability "pseudo"."""

    def __init__(self, header: ModelHeader, options: OpenOptions, weights: Weights) -> None:
        super().__init__(header, options, weights)
        self._foreseeing: PseudoTensors | None = None

    def use_pseudo(self, states: PseudoStates) -> None:
        """See `PseudoEngine.use_pseudo`."""
        self._check_open()
        why = self._misfit(states)
        if why is not None:
            raise EngineError(f"{self.info.name} cannot foresee by these states: {why}")
        self._foreseeing = self.pseudo_tensors(states)

    def pseudo_tensors(self, states: PseudoStates) -> PseudoTensors:
        """These states on the device of the weights, in their type."""

        def there(array: Any) -> Tensor:
            return torch.tensor(array, dtype=self._module.dtype, device=self._device)

        return PseudoTensors(
            states.depths,
            there(states.shifts),
            None if states.maps is None else there(states.maps),
            {name: (there(down), there(up)) for name, (down, up) in states.adapters.items()},
        )

    def forward_ahead(
        self, tree: TokenTree, carriers: Sequence[int], *, first_row: int = 0
    ) -> tuple[Scores, Scores]:
        """See `PseudoEngine.forward_ahead`."""
        self._check_usable()
        self._check_no_tree()
        pseudo = self._foreseeing
        if pseudo is None:
            raise EngineError(f"{self.info.name} was not told how to foresee")
        if self._leaves_out:
            raise EngineError("a tree cannot be run while layers are left out")
        self._check_tree(tree, first_row)
        self._check_feed(tree.tokens, len(tree) - first_row)
        ends = (-1, *carriers, len(tree))
        if not all(one < two for one, two in pairwise(ends)):
            raise EngineError(f"carriers must rise from 0 to {len(tree) - 1}")
        copy = TokenTree(list(tree.tokens), list(tree.parents), list(tree.probabilities))
        start, nodes = self.length, len(tree)
        try:
            with self._inference(nodes + pseudo.count * len(carriers)):
                if self._kept.finished < start:
                    self._climb(self.depth)
                self._fill()
                layout = lay_out(copy, carriers, pseudo.count, start, self._device)
                states = self.run_ahead(pseudo, layout, self._cache)
                cut(self._cache, start + nodes)
                ahead = states[nodes:].view(pseudo.count, len(carriers), self.width).transpose(0, 1)
                wanted = torch.cat((states[first_row:nodes], ahead.flatten(0, 1)))
                logits = self.logits_of(wanted)
                rows = nodes - first_row
                scores = self._scores([logits[:rows]] if rows else [])
                foreseen = self._scores([logits[rows:]] if carriers else [])
            self._tree, self._pseudo = copy, frozenset()
        except BaseException:
            self._recover(start)
            raise
        return scores, foreseen

    # ---- for learning, too

    def run_ahead(self, pseudo: PseudoTensors, layout: Layout, cache: Any = None) -> Tensor:
        """See `pseudo_run.run_ahead`. Without a cache it changes nothing here."""
        return run_ahead(self._module.base_model, pseudo, layout, self._as_mask, cache)

    def logits_of(self, states: Tensor) -> Tensor:
        """Norm and head."""
        logits: Tensor = self._head(self._norm(states))
        return logits

    def linear_shapes(self) -> dict[str, tuple[int, int]]:
        """(outputs, inputs) of every linear layer that an adapter may be for, by its name there."""
        return {
            f"{index}.{name}": (module.out_features, module.in_features)
            for index, layer in enumerate(self._layers)
            for name, module in layer.named_modules()
            if isinstance(module, torch.nn.Linear)
        }

    def _misfit(self, states: PseudoStates) -> str | None:
        """What is wrong with them, as half a sentence; None if nothing is."""
        count, width, depths = states.count, self.width, states.depths
        if not 1 <= count <= MOST:
            return f"they are for {count} positions, not 1 to {MOST}"
        if any(one > two for one, two in pairwise((0, *depths, self.depth - 1))):
            return (
                f"depths {', '.join(map(str, depths))} do not rise within its {self.depth} layers"
            )
        if states.shifts.shape != (count, width):
            return f"shifts of shape {states.shifts.shape}, not {(count, width)}"
        if states.maps is not None and states.maps.shape != (count, width, width):
            return f"maps of shape {states.maps.shape}, not {(count, width, width)}"
        shapes = self.linear_shapes() if states.adapters else {}
        for name, (down, up) in states.adapters.items():
            if name not in shapes:
                return f"it has no linear layer {name[:60]!r}"
            outputs, inputs = shapes[name]
            rank = len(down)
            if down.shape != (rank, inputs) or up.shape != (outputs, rank):
                return f"adapters of {name[:60]!r} of the wrong shape"
        return None
