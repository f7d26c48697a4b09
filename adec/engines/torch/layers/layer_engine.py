"""Layers of a torch model one by one: early exits, later completion, layers left out.

For every layer the engine knows how many tokens have keys and values there (`_lengths`), and for
every depth the states of the newest tokens that got so far (`_states`, up to token `_have`). All of
`LayerEngine` is then one step per layer: tokens whose state below it is known but not the one above
it are run; tokens that passed it by get keys and values from the state that they passed it with.
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
        self._embed, self._norm, self._rotary = base.embed_tokens, base.norm, base.rotary_emb
        self._head: Any = self._module.get_output_embeddings()
        self._lengths = [0] * self.depth
        self._have = [0] * (self.depth + 1)
        self._states: list[Tensor] = [self._no_states()] * (self.depth + 1)
        self._left_out: frozenset[int] = frozenset()
        self._turns: tuple[int, int, Any] = (0, 0, None)
        self._watch: StateWatch | None = None
        self._gathered: GatheredNeurons | None = None
        self._neurons_computed = 0
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
            with self._inference(self.length - self._have[depth]):
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
        missing = self.length - self._have[-1]
        if not 0 <= rows <= missing:
            raise EngineError(f"{missing} tokens are unfinished, so there are no {rows} rows")
        try:
            with self._inference(missing):
                self._climb(self.depth)
                states = self._states[-1]
                return self._logits(states[len(states) - rows :])
        except BaseException:
            self._recover(self.length)
            raise

    def propagate(self) -> None:
        """See `LayerEngine.propagate`."""
        self._check_usable()
        self._check_no_tree()
        for layer in range(self.depth):
            self._pass_by(layer)

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

    def leave_out(self, layers: Collection[int]) -> None:
        """See `LayerEngine.leave_out`. Trees cannot be run while layers are left out."""
        self._check_usable()
        wrong = [layer for layer in layers if not 0 <= layer < self.depth]
        if wrong:
            raise EngineError(
                f"{self.info.name} has no layer {wrong[0]}: they count from 0 to {self.depth - 1}"
            )
        if len(set(layers)) == self.depth:
            raise EngineError(f"all {self.depth} layers of {self.info.name} are to be left out")
        self._left_out = frozenset(layers)

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
        return self._neurons_computed

    def gate_neurons(self, gates: NeuronGates | None) -> None:
        """See `LayerEngine.gate_neurons`."""
        self._check_usable()
        self._gathered = None
        if gates is None:
            return
        width, rank = self._module.config.hidden_size, gates.inner.shape[1]
        shapes = [one.shape for one in (gates.inner, gates.outer, gates.bias)]
        fitting = [(self.depth, rank, width), (self.depth, self.neurons, rank)]
        if shapes != [*fitting, (self.depth, self.neurons)]:
            raise EngineError(
                f"these gates are for other feed-forward layers than {self.info.name}'s"
            )
        self._gathered = GatheredNeurons(self._layers, gates, self._no_states())

    def layer_length(self, layer: int) -> int:
        """See `LayerEngine.layer_length`."""
        if not 0 <= layer < self.depth:
            raise EngineError(f"{self.info.name} has no layer {layer}")
        return self._lengths[layer]

    # ---- what every engine does

    def _append(self, tokens: Sequence[int], rows: int) -> Scores:
        gathers = self._gathered is not None and len(tokens) == 1
        if self._left_out or gathers or self._have[-1] < self.length:
            parts = []
            for at in range(0, len(tokens), CHUNK):
                part = tokens[at : at + CHUNK]
                with self._inference(len(part)):
                    self._enter(part, trail=False)
                    self._climb(self.depth)
                    first = max(0, len(tokens) - rows - at)
                    states = self._states[-1]
                    parts.append(states[len(states) - len(part) + first :])
            with self._inference(rows):
                return self._logits(torch.cat(parts))
        with self._inference(len(tokens)):
            self._fill()
        scores = super()._append(tokens, rows)
        self._all_at(self.length + len(tokens))
        return scores

    def _append_tree(self, tree: TokenTree, known: int, first_row: int) -> Scores:
        if self._left_out:
            raise EngineError("a tree cannot be run while layers are left out")
        with self._inference(len(tree) - known):
            if self._have[-1] < self.length:
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
        self._all_at(self.length + len(path))

    def _cut(self, length: int) -> None:
        # a failure may have left a layer of the cache longer than it is known to be
        self._lengths = [min(length, known) for known in self._lengths]
        cut_each(self._cache, self._lengths)
        if self._watch is not None:
            self._watch.cut(length)
        for depth, have in enumerate(self._have):
            gone = have - min(length, have)
            states = self._states[depth]
            self._states[depth] = states[: max(0, len(states) - gone)]
            self._have[depth] = have - gone

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
        states = self._states[depth]
        if self._have[depth] < self.length or not 0 <= rows <= len(states):
            held = len(states) if self._have[depth] == self.length else 0
            raise EngineError(
                f"{self.info.name} holds the states of {held} tokens after {depth} layers,"
                f" not of {rows}"
            )
        return states[len(states) - rows :]

    def _enter(self, tokens: Sequence[int], *, trail: bool) -> None:
        """Add the embeddings of `tokens`, and drop states that nobody can ask for any more.

        With `trail`, unfinished tokens keep the states at which they were seen on their way up.
        """
        for depth, states in enumerate(self._states):
            needed = self._have[-1]
            if depth < self.depth:
                known = self._lengths[depth]
                needed = min(known, needed) if trail else known
            keep = max(0, self._have[depth] - needed)
            self._states[depth] = states[max(0, len(states) - keep) :]
        ids = torch.tensor(tokens, device=self._device)
        self._extend(0, self._embed(ids))

    def _climb(self, depth: int) -> None:
        """Bring all tokens to `depth` that are not there yet."""
        for layer in range(depth):
            if layer in self._left_out:
                self._pass_by(layer)
            else:
                self._advance(layer)

    def _advance(self, layer: int) -> None:
        self._fill_layer(layer)
        start, end = self._have[layer + 1], self._have[layer]
        if start < end:
            states = self._states[layer][-(end - start) :]
            out = self._block(layer, states, start)
            self._lengths[layer] = end
            self._extend(layer + 1, out)
            if self._watch is not None:
                self._watch.add(layer + 1, start, out)

    def _block(self, layer: int, states: Tensor, start: int) -> Tensor:
        """A layer's output for tokens from position `start` on, (tokens, width)."""
        block, inputs = self._layers[layer], self._inputs(states, start)
        if self._gathered is None or len(states) > 1:
            whole: Tensor = block(states[None], **inputs)[0]
            return whole
        attended = block.self_attn(hidden_states=block.input_layernorm(states[None]), **inputs)
        states = states + attended[0][0]
        state = block.post_attention_layernorm(states[None])[0, 0]
        out, count = self._gathered.run(layer, state, start)
        self._neurons_computed += count
        return states + out

    def _pass_by(self, layer: int) -> None:
        """Let the states below a layer stand for those above it."""
        count = self._have[layer] - self._have[layer + 1]
        if count:
            self._extend(layer + 1, self._states[layer][-count:])

    def _fill(self) -> None:
        for layer in range(self.depth):
            self._fill_layer(layer)

    def _fill_layer(self, layer: int) -> None:
        """Keys and values of the tokens that passed a layer by, from the states they had there."""
        start, end = self._lengths[layer], self._have[layer + 1]
        if start < end:
            behind = self._have[layer] - end
            states = self._states[layer]
            states = states[len(states) - behind - (end - start) : len(states) - behind]
            block = self._layers[layer]
            # the attention's result is not wanted, but every architecture writes its cache there
            block.self_attn(
                hidden_states=block.input_layernorm(states[None]), **self._inputs(states, start)
            )
            self._lengths[layer] = end

    def _extend(self, depth: int, states: Tensor) -> None:
        held = self._states[depth]
        self._states[depth] = torch.cat((held, states)) if len(held) else states
        self._have[depth] += len(states)

    def _inputs(self, states: Tensor, start: int) -> dict[str, Any]:
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
            "past_key_values": self._cache,
            "use_cache": True,
        }

    def _causal_mask(self, start: int, end: int) -> Tensor | None:
        """(1, 1, queries, keys) for queries from `start` on; None where all keys are seen."""
        if end - start == 1:
            return None
        seen = self._positions[:, :end] <= self._positions[:, start:end].T
        return self._as_mask(seen[None, None])

    def _logits(self, states: Tensor) -> Scores:
        return self._scores([self._head(self._norm(states))] if len(states) else [])

    def _all_at(self, length: int) -> None:
        """Every layer has read `length` tokens, and no state is needed any more."""
        self._lengths = [length] * self.depth
        self._have = [length] * (self.depth + 1)
        self._states = [self._no_states()] * (self.depth + 1)

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
