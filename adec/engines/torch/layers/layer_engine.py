"""Layers of a torch model one by one: early exits, later completion, layers left out.

`layer_states.py` knows how far each token got, `layer_runner.py` runs a layer. All of `LayerEngine`
is then one step per layer: tokens that wait below it are run; tokens that passed it by get keys and
values from the state that they passed it with.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from adec.engines.base import ModelHeader, OpenOptions
from adec.engines.neuron_gates import NeuronGates
from adec.engines.protocols import Vectors
from adec.engines.sequence import EmbedSequence
from adec.engines.torch.layers.gathered_neurons import GatheredNeurons, neurons_of
from adec.engines.torch.layers.layer_runner import LayerRunner
from adec.engines.torch.layers.layer_states import LayerStates
from adec.engines.torch.layers.state_watch import StateWatch
from adec.engines.torch.torch_cache import cut_each
from adec.engines.torch.torch_engine import CHUNK, TorchEngine
from adec.engines.torch.torch_weights import Weights
from adec.errors import EngineError
from adec.signals import Scores
from adec.tree import TokenTree


class TorchLayerEngine(EmbedSequence, TorchEngine):
    """A `TorchEngine` with the capabilities "layers" and "vectors": see the protocols of these."""

    def __init__(self, header: ModelHeader, options: OpenOptions, weights: Weights) -> None:
        super().__init__(header, options, weights)
        base: Any = self._module.base_model
        self._layers: Any = base.layers
        self._embed, self._norm = base.embed_tokens, base.norm
        self._head: Any = self._module.get_output_embeddings()
        self._runner = LayerRunner(base, self._positions, self._as_mask)
        self._kept = LayerStates(self.depth, self._no_states())
        self._no_attention: frozenset[int] = frozenset()
        self._no_feed_forward: frozenset[int] = frozenset()
        self._watch: StateWatch | None = None
        self._tree_known: int | None = None
        """Of a tree that runs now, the nodes that ran before."""

    @property
    def depth(self) -> int:
        """Decoder layers."""
        return len(self._layers)

    def lower(self, tokens: Sequence[int], depth: int) -> None:
        """See `LayerEngine.lower`."""
        self._check_for(tokens, depth)
        start = self.length
        try:
            for at in range(0, len(tokens), CHUNK):
                part = tokens[at : at + CHUNK]
                with self._inference(len(part)):
                    self._enter(part, trail=len(tokens) <= CHUNK)
                    self._climb(depth)
            self._held += tokens
        except BaseException:
            self._recover(start)
            raise

    def deepen(self, depth: int) -> None:
        """See `LayerEngine.deepen`."""
        self._check_usable()
        self._check_no_tree()
        self._check_depth(depth)
        try:
            with self._inference(self.length - self._kept.reached(depth)):
                self._climb(depth)
        except BaseException:
            self._recover(self.length)
            raise

    def scores_at(self, depth: int, *, rows: int = 1) -> Scores:
        """See `LayerEngine.scores_at`."""
        self._check_usable()
        self._check_depth(depth)
        with self._inference(rows):
            return self._logits(self._newest(depth, rows))

    def states_at(self, depth: int, *, rows: int = 1) -> Vectors:
        """See `LayerEngine.states_at`."""
        if depth != 0:
            self._check_depth(depth)
        states: Vectors = self._newest(depth, rows).float().cpu().numpy()
        return states

    def scores_of(self, states: Vectors) -> Scores:
        """See `LayerEngine.scores_of`."""
        self._check_usable()
        with self._inference(len(states)):
            given = torch.tensor(states, dtype=self._module.dtype, device=self._device)
            return self._logits(given)

    def finish(self, *, rows: int = 1) -> Scores:
        """See `LayerEngine.finish`."""
        self._check_usable()
        self._check_no_tree()
        missing = self.length - self._kept.finished
        if not 0 <= rows <= missing:
            raise EngineError(f"{missing} tokens are unfinished, so there are no {rows} rows")
        try:
            with self._inference(missing):
                self._climb(self.depth)
                return self._logits(self._kept.newest(self.depth, rows))
        except BaseException:
            self._recover(self.length)
            raise

    def propagate(self) -> None:
        """See `LayerEngine.propagate`."""
        self._check_usable()
        self._check_no_tree()
        for layer in range(self.depth):
            self._kept.pass_by(layer)

    @property
    def width(self) -> int:
        """See `EmbedEngine.width`."""
        return int(self._embed.weight.shape[1])

    def embeddings(self, tokens: Sequence[int]) -> Vectors:
        """See `EmbedEngine.embeddings`."""
        self._check_ids(tokens)
        with self._inference(1):
            rows: Vectors = (
                self._embed(torch.tensor(tokens, device=self._device)).float().cpu().numpy()
            )
        return rows

    def leave_out(
        self,
        layers: Collection[int],
        *,
        attention: Collection[int] = (),
        feed_forward: Collection[int] = (),
    ) -> None:
        """See `LayerEngine.leave_out`. Trees cannot be run while anything is left out."""
        self._check_usable()
        wrong = [at for at in (*layers, *attention, *feed_forward) if not 0 <= at < self.depth]
        if wrong:
            raise EngineError(
                f"{self.info.name} has no layer {wrong[0]}: they count from 0 to {self.depth - 1}"
            )
        no_attention, no_feed_forward = {*layers, *attention}, {*layers, *feed_forward}
        if len(no_attention & no_feed_forward) == self.depth:
            raise EngineError(f"all {self.depth} layers of {self.info.name} are to be left out")
        self._no_attention = frozenset(no_attention)
        self._no_feed_forward = frozenset(no_feed_forward)

    @property
    def _leaves_out(self) -> bool:
        return bool(self._no_attention or self._no_feed_forward)

    def watch(self, depths: Collection[int], since: int = 0) -> None:
        """See `LayerEngine.watch`."""
        self._check_open()
        for depth in depths:
            self._check_depth(depth)
        self._watch = StateWatch(depths, since, self._no_states()) if depths else None

    def watched(self, depth: int, first: int) -> Vectors:
        """See `LayerEngine.watched`."""
        watch = self._watch
        if watch is None or depth not in watch.depths or first < watch.since:
            raise EngineError(f"{self.info.name} keeps no states at layer {depth} from {first} on")
        states: Vectors = watch.rows(depth, first).float().cpu().numpy()
        return states

    @property
    def neurons(self) -> int:
        """See `LayerEngine.neurons`."""
        return neurons_of(self._layers[0].mlp)

    @property
    def neurons_computed(self) -> int:
        """See `LayerEngine.neurons_computed`."""
        return self._runner.neurons_computed

    def gate_neurons(self, gates: NeuronGates | None) -> None:
        """See `LayerEngine.gate_neurons`."""
        self._check_usable()
        self._runner.gathered = None
        if gates is None:
            return
        width, rank = self._module.config.hidden_size, gates.inner.shape[1]
        shapes = [one.shape for one in (gates.inner, gates.outer, gates.bias)]
        fitting = [(self.depth, rank, width), (self.depth, self.neurons, rank)]
        if shapes != [*fitting, (self.depth, self.neurons)]:
            raise EngineError(
                f"these gates are for other feed-forward layers than {self.info.name}'s"
            )
        self._runner.gathered = GatheredNeurons(self._layers, gates, self._no_states())

    def layer_length(self, layer: int) -> int:
        """See `LayerEngine.layer_length`."""
        if not 0 <= layer < self.depth:
            raise EngineError(f"{self.info.name} has no layer {layer}")
        return self._kept.lengths[layer]

    # ---- what every engine does

    def _append(self, tokens: Sequence[int], rows: int) -> Scores:
        gathers = self._runner.gathered is not None and len(tokens) == 1
        if self._leaves_out or gathers or self._kept.finished < self.length:
            parts = []
            for at in range(0, len(tokens), CHUNK):
                part = tokens[at : at + CHUNK]
                with self._inference(len(part)):
                    self._enter(part, trail=False)
                    self._climb(self.depth)
                    first = max(0, len(tokens) - rows - at)
                    parts.append(self._kept.newest(self.depth, max(0, len(part) - first)))
            with self._inference(rows):
                return self._logits(torch.cat(parts))
        with self._inference(len(tokens)):
            self._fill()
        scores = super()._append(tokens, rows)
        self._kept.all_read(self.length + len(tokens))
        return scores

    def _append_tree(self, tree: TokenTree, known: int, first_row: int) -> Scores:
        if self._leaves_out:
            raise EngineError("a tree cannot be run while layers are left out")
        with self._inference(len(tree) - known):
            if self._kept.finished < self.length:
                self._climb(self.depth)
            self._fill()
        self._tree_known = known
        try:
            return super()._append_tree(tree, known, first_row)
        finally:
            self._tree_known = None

    def _run(
        self,
        tokens: Sequence[int],
        positions: Tensor,
        rows: int,
        mask: Tensor | None,
        node: int = 0,
    ) -> Tensor:
        if self._watch is None:
            return super()._run(tokens, positions, rows, mask, node)
        known = self._tree_known
        start = int(positions[0, 0]) if known is None else None
        with self._watch.run(self._layers, start, known or 0):
            return super()._run(tokens, positions, rows, mask, node)

    def _keep(self, tree: TokenTree, path: Sequence[int]) -> None:
        super()._keep(tree, path)
        if self._watch is not None:
            self._watch.keep(self.length, path)
        self._kept.all_read(self.length + len(path))

    def _cut(self, length: int) -> None:
        # a failure may have left a layer of the cache longer than it is known to be
        self._kept.cut(length)
        cut_each(self._cache, self._kept.lengths)
        if self._watch is not None:
            self._watch.cut(length)

    def _entry(self, ids: Tensor, node: int) -> dict[str, Tensor]:
        if not self._vectors:
            return super()._entry(ids, node)
        rows = self._embed(ids)
        for at, vector in self._vectors.items():
            if at >= node:
                rows[0, at - node] = torch.from_numpy(vector).to(rows)
        return {"inputs_embeds": rows}

    # ---- layer by layer

    def _newest(self, depth: int, rows: int) -> Tensor:
        """States of the last `rows` tokens after `depth` layers."""
        self._check_usable()
        held = self._kept.held(depth) if self._kept.reached(depth) == self.length else 0
        if self._kept.reached(depth) < self.length or not 0 <= rows <= held:
            raise EngineError(
                f"{self.info.name} holds the states of {held} tokens after {depth} layers,"
                f" not of {rows}"
            )
        return self._kept.newest(depth, rows)

    def _enter(self, tokens: Sequence[int], *, trail: bool) -> None:
        """Add the embeddings of `tokens`; `trail`: see `LayerStates.forget`."""
        self._kept.forget(trail=trail)
        self._kept.add(0, self._embed(torch.tensor(tokens, device=self._device)))

    def _climb(self, depth: int) -> None:
        """Bring all tokens to `depth` that are not there yet."""
        for layer in range(depth):
            if layer in self._no_attention and layer in self._no_feed_forward:
                self._kept.pass_by(layer)
            else:
                self._advance(layer)

    def _advance(self, layer: int) -> None:
        attention = layer not in self._no_attention
        if attention:
            self._fill_layer(layer)
        found = self._kept.waiting(layer)
        if found is None:
            return
        start, states = found
        out = self._runner.run(
            layer, states, start, self._cache, attention=attention,
            feed_forward=layer not in self._no_feed_forward,
        )  # fmt: skip
        if attention:
            self._kept.lengths[layer] = start + len(states)
        self._kept.add(layer + 1, out)
        if self._watch is not None:
            self._watch.add(layer + 1, start, out)

    def _fill(self) -> None:
        for layer in range(self.depth):
            self._fill_layer(layer)

    def _fill_layer(self, layer: int) -> None:
        """Keys and values of the tokens that passed a layer's attention by."""
        found = self._kept.without_keys(layer)
        if found is not None:
            start, states = found
            # only what it writes to the cache is wanted
            self._runner.attend(layer, states, start, self._cache)
            self._kept.lengths[layer] = start + len(states)

    def _logits(self, states: Tensor) -> Scores:
        return self._scores([self._head(self._norm(states))] if len(states) else [])

    def _no_states(self) -> Tensor:
        width = self._module.config.hidden_size
        return torch.empty((0, width), dtype=self._module.dtype, device=self._device)

    # ---- checks

    def _check_for(self, tokens: Sequence[int], depth: int) -> None:
        self._check_usable()
        self._check_no_tree()
        self._check_feed(tokens, 0)
        self._check_depth(depth)

    def _check_depth(self, depth: int) -> None:
        if not 1 <= depth <= self.depth:
            raise EngineError(
                f"{self.info.name} has {self.depth} layers, so no depth of {depth}",
                hint=f"choose 1 to {self.depth}",
            )

    def _check_no_tree(self) -> None:
        if self._tree is not None:
            raise EngineError("a tree is pending: keep a path or rewind first")
