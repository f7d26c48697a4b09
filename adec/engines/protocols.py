"""What engines may offer beyond one token after another: each a protocol with a capability's name.

A method names capabilities in `needs`; an engine declares those whose protocol it implements. A
protocol that no engine implements yet is the contract that such engines are written against. Common
to all:

- Arrays are float32 on the CPU. Positions and layers count from 0.
- Every method raises EngineError when the backend fails or an argument is out of range. The engine
  is then as it was before the call.
- Not thread-safe.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from adec.engines.base import Capability, Engine, LoadedModel
from adec.engines.neuron_gates import NeuronGates
from adec.sampling import Sampler
from adec.signals import Scores
from adec.tree import TokenTree

Vectors = NDArray[np.float32]
"""Hidden states or embeddings, shape (positions, width)."""


@runtime_checkable
class LayerEngine(Engine, Protocol):
    """Capability "layers": runs the lower layers of a token now and the others later, or never.

    A depth is a number of decoder layers, 1 to `info.layers`. `length` counts tokens of which the
    lowest layer has run. Every layer has a length of its own in the KV cache; `rewind` and `keep`
    cut all of them. A token that went no deeper than some depth is *unfinished*: the engine keeps
    its state there until `finish`, `propagate` or `rewind`. `forward` and `forward_tree` finish
    older tokens first.

    An engine declares this only for a model that is a list of decoder layers, one norm and one
    head, without scales of its own between them (as Gemma, Granite and Cohere have); not for
    recurrent layers unless their states can go back.
    """

    def lower(self, tokens: Sequence[int], depth: int) -> None:
        """Append `tokens` (at least one), running the lowest `depth` layers.

        Layers above `depth` keep their lengths.
        """
        ...

    def deepen(self, depth: int) -> None:
        """Bring all unfinished tokens up to `depth`; those that are there already stay.

        With the depth of the model it finishes them, as `finish` does without a row.
        """
        ...

    def scores_at(self, depth: int, *, rows: int = 1) -> Scores:
        """Scores of the last `rows` tokens' states after `depth` layers, through norm and head.

        Changes nothing. The states must be there: from the last `lower`, at its depth or below it.
        """
        ...

    def states_at(self, depth: int, *, rows: int = 1) -> Vectors:
        """The states themselves, shape (rows, width), under the conditions of `scores_at`.

        Depth 0 is what the lowest layer reads.
        """
        ...

    def scores_of(self, states: Vectors) -> Scores:
        """Scores of states that `states_at` gave, shape (rows, width), through norm and head.

        Changes nothing, and the states may be of tokens that are gone.
        """
        ...

    def finish(self, *, rows: int = 1) -> Scores:
        """Run the missing layers of all unfinished tokens, in one batch; scores of the last `rows`.

        What has run is not run again. Then every layer has length `length`, and scores and cache
        are those that `forward` would have given.
        """
        ...

    def propagate(self) -> None:
        """Fill the missing layers of unfinished tokens without running them.

        Keys and values are projected from the state at which a token stopped (state propagation),
        so later tokens see an approximation, and the token can no longer be finished.
        """
        ...

    def leave_out(
        self,
        layers: Collection[int],
        *,
        attention: Collection[int] = (),
        feed_forward: Collection[int] = (),
    ) -> None:
        """Let the tokens to come skip these layers, and that half of these; nothing ends it.

        A skipped layer passes its input on, a skipped half adds nothing, so that scores are those
        of a model built without them. Keys and values that a later forward needs there are filled
        in from the kept inputs, in one batch.
        """
        ...

    def watch(self, depths: Collection[int], since: int = 0) -> None:
        """Keep the states at these depths of tokens to come, from position `since` on.

        Whatever runs them: forwards, trees whose path is kept, lower layers that are finished. An
        empty collection ends it.
        """
        ...

    def watched(self, depth: int, first: int) -> Vectors:
        """The kept states of the sequence's positions from `first` on, shape (positions, width).

        They end with the newest position that has run so deep. A row is not a number where a token
        passed the depth by. Raises EngineError where the depth is not watched, or `first` is
        before `since`.
        """
        ...

    @property
    def neurons(self) -> int:
        """Neurons in the feed-forward part of a layer."""
        ...

    def gate_neurons(self, gates: NeuronGates | None) -> None:
        """Let forwards of a single token compute only the feed-forward neurons that gates choose.

        What the others would have added is missing. Forwards of several tokens compute all, as
        does everything with None. Raises EngineError where the gates do not fit the model.
        """
        ...

    @property
    def neurons_computed(self) -> int:
        """Neurons, of all layers together, that gated forwards have computed so far."""
        ...

    def layer_length(self, layer: int) -> int:
        """Tokens that have keys and values in this layer of the cache."""
        ...


@runtime_checkable
class EmbedEngine(Engine, Protocol):
    """Capability "vectors": nodes of a tree whose input is a vector instead of a token id."""

    @property
    def width(self) -> int:
        """Numbers in an embedding."""
        ...

    def embeddings(self, tokens: Sequence[int]) -> Vectors:
        """The model's own embeddings, as the lowest layer reads them; shape (tokens, width)."""
        ...

    def forward_tree_vectors(
        self, tree: TokenTree, vectors: Mapping[int, Vectors], *, first_row: int = 0
    ) -> Scores:
        """As `forward_tree`, but nodes that are keys of `vectors` read a vector, shape (width,).

        Their token ids must be in the vocabulary and are ignored otherwise. `keep` refuses a path
        with such a node. A node that reads its own token's embedding scores as that token does.
        """
        ...


@dataclass(frozen=True)
class PseudoStates:
    """How a token's own state makes states of tokens to come, which pass through a model with it.

    Pseudo position i stands i + 1 behind its token, the carrier, and its row scores the token one
    further. It enters before layer `depths[i]` as `maps[i] @ s + shifts[i]`, where s is the state
    of the carrier there; without maps as `shifts[i]`.
    """

    depths: tuple[int, ...]
    """By position, not falling, each below the number of layers; 0: before the lowest layer."""
    shifts: Vectors
    """Shape (positions, width)."""
    maps: NDArray[np.float32] | None = None
    """Shape (positions, width, width)."""
    adapters: Mapping[str, tuple[Vectors, Vectors]] = field(default_factory=dict)
    """Low-rank additions to linear layers, (rank, inputs) and (outputs, rank), that act at pseudo
    positions only; by layer and name, as "3.self_attn.q_proj"."""

    @property
    def count(self) -> int:
        """Pseudo positions behind a carrier."""
        return len(self.depths)


@runtime_checkable
class PseudoEngine(Engine, Protocol):
    """Capability "pseudo": a forward that reads tokens and foresees what follows them, in one."""

    def use_pseudo(self, states: PseudoStates) -> None:
        """Foresee by these from now on. Raises EngineError where they do not fit the model."""
        ...

    def forward_ahead(
        self, tree: TokenTree, carriers: Sequence[int], *, first_row: int = 0
    ) -> tuple[Scores, Scores]:
        """`forward_tree` of a tree that is not pending, and rows of what its carriers foresee.

        `carriers`: nodes, rising. Row k * count + i is that of pseudo position i of carrier k. A
        pseudo position sees what its carrier sees, the positions of the same carrier before it and
        itself; no node sees it, and nothing of it stays.
        """
        ...


@runtime_checkable
class CanvasEngine(LoadedModel, Protocol):
    """Capability "canvas": a masked diffusion model, in which every position sees every other.

    A canvas is a list of ids: the prompt, then the answer, with `mask` where nothing stands yet.
    Row i scores the token *at* position i; where a model predicts it at i - 1, the engine shifts.
    The mask itself scores -inf: it is no answer.
    """

    @property
    def mask(self) -> int:
        """The id of the mask token."""
        ...

    @property
    def reuses(self) -> bool:
        """Whether keys and values can be reused; without it, `refresh` must be None."""
        ...

    def canvas_scores(
        self,
        canvas: Sequence[int],
        *,
        positions: Sequence[int] | None = None,
        refresh: Sequence[int] | None = None,
    ) -> Scores:
        """Scores of `positions` in the order given; None: of every position.

        Only positions in `refresh` are computed, and their keys and values kept; the others are
        seen by the keys and values of the forward that refreshed them last, even if their token has
        changed since. None computes every position, which is exact. Raises EngineError when a
        position of `positions` is not refreshed, or when one that is not refreshed has never been.
        """
        ...

    def canvas_batch(
        self, canvases: Sequence[Sequence[int]], positions: Sequence[Sequence[int]]
    ) -> list[Scores]:
        """`canvas_scores` of several canvases of one length, in one forward if the backend can.

        Every position is computed, and no keys and values are kept. `positions`: those to score,
        for each canvas. Raises EngineError when the lengths differ.
        """
        ...

    def forget(self) -> None:
        """Drop all kept keys and values.

        A canvas of another length needs no call: what is kept of positions in both stays.
        """
        ...


@dataclass(frozen=True, slots=True)
class Piece:
    """One token, or one piece of text, that a generator returned."""

    text: str
    token: int | None = None
    """Its id, where the server tells."""
    nats: float | None = None
    """Its log-probability at temperature 1, where the server tells."""
    top: tuple[tuple[str, float], ...] = ()
    """Likeliest tokens at this position as (text, log-probability in nats), likeliest first."""
    top_ids: tuple[int, ...] = ()
    """Their ids in that order, where the server tells; otherwise empty."""


@runtime_checkable
class Generator(LoadedModel, Protocol):
    """Capability "text": a model that writes by itself and returns pieces, but no rows of logits.

    It keeps no sequence between calls. Everything that it returns is untrusted input, bounded in
    length and checked before it gets here.
    """

    @property
    def takes_ids(self) -> bool:
        """Whether a prompt may be token ids; otherwise it must be text."""
        ...

    @property
    def scores_prompts(self) -> bool:
        """Whether `score` works, which exact verification of drafts needs."""
        ...

    def write(
        self,
        prompt: str | Sequence[int],
        *,
        max_tokens: int,
        sampler: Sampler,
        stop: Sequence[str] = (),
        top: int = 0,
    ) -> Iterator[Piece]:
        """Pieces of the answer as they arrive, each with its `top` likeliest tokens.

        Closing the iterator ends the request. After a piece has been yielded, no request is
        repeated.
        """
        ...

    def score(self, prompt: Sequence[int], continuation: Sequence[int]) -> list[Piece]:
        """Log-probabilities of the tokens of `continuation` after `prompt`, one piece each."""
        ...


@runtime_checkable
class ReadsAhead(Protocol):
    """An engine that asks for the next tokens before their rows are wanted, as one far away."""

    def expect(self, tokens: int) -> None:
        """Say how many tokens the caller is likely to append one by one, each the likeliest."""
        ...

    def known_rows(self, sequence: Sequence[int], rows: int) -> Scores | None:
        """The rows after the last `rows` prefixes of a sequence, the longest last, where all of
        them are here already; None where one would have to be asked for."""
        ...


PROTOCOLS: Mapping[Capability, type] = MappingProxyType(
    {
        "rewind": Engine,
        "tree": Engine,
        "layers": LayerEngine,
        "vectors": EmbedEngine,
        "pseudo": PseudoEngine,
        "canvas": CanvasEngine,
        "text": Generator,
    }
)
"""What an engine that declares a capability implements."""
