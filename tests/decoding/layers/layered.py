"""A table engine with layers: the deeper a token got, the more its row is like the whole law."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from adec.engines.neuron_gates import NeuronGates
from adec.engines.protocols import Vectors
from adec.engines.table import Law, TableEngine
from adec.errors import EngineError
from adec.signals import ArrayScores, Scores
from tests.laws import blend, law

LAYERS = 6


class LayeredTable(TableEngine):
    """The contract of "layers" as far as decoding needs it.

    Where layers are left out, a row is that of the depth that remains, whatever came before.
    """

    def __init__(self, seed: int, *, size: int = 6, context: int = 4096) -> None:
        whole, noise = law(size, seed), law(size, seed + 999)
        super().__init__(
            whole,
            size=size,
            context=context,
            layers=LAYERS,
            capabilities=frozenset({"rewind", "tree", "layers"}),
        )
        self._laws: list[Law] = [blend(whole, noise, d / LAYERS) for d in range(LAYERS + 1)]
        self._depths: list[int] = []
        self._left_out = 0

    def lower(self, tokens: Sequence[int], depth: int) -> None:
        self._check_feed(tokens, 0)
        if not 1 <= depth <= LAYERS:
            raise EngineError(f"no depth of {depth}")
        self._tokens.extend(tokens)
        self._held.extend(tokens)
        self._depths.extend([depth] * len(tokens))

    def deepen(self, depth: int) -> None:
        if not 1 <= depth <= LAYERS:
            raise EngineError(f"no depth of {depth}")
        self._depths = [max(reached, depth) for reached in self._depths]

    def states_at(self, depth: int, *, rows: int = 1) -> Vectors:
        return np.stack([self.scores_at(depth, rows=rows).row(row) for row in range(rows)])

    def scores_at(self, depth: int, *, rows: int = 1) -> Scores:
        newest = self._depths[len(self._depths) - rows :]
        if any(reached < depth for reached in newest):
            raise EngineError(f"not all of the last {rows} tokens reached layer {depth}")
        ends = range(len(self._tokens) - rows + 1, len(self._tokens) + 1)
        every = [self._laws[depth](tuple(self._tokens[:end])) for end in ends]
        self._law, whole = lambda prefix: every[len(prefix) - ends[0]], self._law
        try:
            return self._scores([tuple(self._tokens[:end]) for end in ends])
        finally:
            self._law = whole

    def scores_of(self, states: Vectors) -> Scores:
        return ArrayScores(states.astype(np.float32))

    def finish(self, *, rows: int = 1) -> Scores:
        missing = sum(depth < LAYERS for depth in self._depths)
        if rows > missing:
            raise EngineError(f"{missing} tokens are unfinished, not {rows}")
        self._depths = [LAYERS] * len(self._depths)
        return self.scores_at(LAYERS, rows=rows)

    def propagate(self) -> None:
        self._depths = [LAYERS] * len(self._depths)

    def leave_out(
        self,
        layers: Collection[int],
        *,
        attention: Collection[int] = (),
        feed_forward: Collection[int] = (),
    ) -> None:
        assert not attention and not feed_forward  # no strategy asks for halves
        self._left_out = len(set(layers))

    def watch(self, depths: Collection[int], since: int = 0) -> None:
        self._watching = frozenset(depths)
        self._since = since

    def watched(self, depth: int, first: int) -> Vectors:
        """A state is a row, as it would be read at that depth."""
        if depth not in self._watching or first < self._since:
            raise EngineError(f"nothing is kept at {depth} from {first} on")
        ends = range(first + 1, len(self._tokens) + 1)
        rows = [self._laws[depth](tuple(self._tokens[:end])) for end in ends]
        logits = np.log(np.array(rows).reshape(len(rows), self.info.vocabulary))
        return logits.astype(np.float32)

    @property
    def neurons(self) -> int:
        return 4

    @property
    def neurons_computed(self) -> int:
        return 0

    def gate_neurons(self, gates: NeuronGates | None) -> None:
        """A table has none that could be missing."""

    def layer_length(self, layer: int) -> int:
        return sum(depth > layer for depth in self._depths)

    def _append(self, tokens: Sequence[int], rows: int) -> Scores:
        self._depths = [LAYERS] * (len(self._depths) + len(tokens))
        whole, self._law = self._law, self._laws[LAYERS - self._left_out]
        try:
            return super()._append(tokens, rows)
        finally:
            self._law = whole

    def _cut(self, length: int) -> None:
        super()._cut(length)
        del self._depths[length:]
