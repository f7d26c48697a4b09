"""A table engine that foresees by a law of its own, right or wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from adec.engines.protocols import PseudoStates
from adec.engines.table import TableEngine
from adec.errors import EngineError
from adec.parts.part import Part
from adec.signals import Scores
from adec.tree import TokenTree
from tests.laws import blend, law

SIZE, WIDTH, LAYERS = 6, 4, 5


class PseudoTable(TableEngine):
    """The rows ahead are those of the true sequence, blended with another law."""

    def __init__(self, seed: int, likeness: float = 0.7, context: int = 4096) -> None:
        truth = law(SIZE, seed, sharpness=6.0)
        super().__init__(
            truth,
            size=SIZE,
            name="large",
            context=context,
            layers=LAYERS,
            capabilities=frozenset({"rewind", "tree", "pseudo"}),
        )
        self._guess = blend(truth, law(SIZE, seed + 7, sharpness=6.0), likeness)
        self._states: PseudoStates | None = None
        self.carried = 0

    def use_pseudo(self, states: PseudoStates) -> None:
        if states.shifts.shape[1] != WIDTH:
            raise EngineError(f"states {states.shifts.shape[1]} wide")
        self._states = states

    def forward_ahead(
        self, tree: TokenTree, carriers: Sequence[int], *, first_row: int = 0
    ) -> tuple[Scores, Scores]:
        assert self._states is not None and list(carriers) == sorted(set(carriers))
        scores = self.forward_tree(tree, first_row=first_row)
        rows = []
        for carrier in carriers:
            prefix = (*self.tokens, *(tree.tokens[node] for node in tree.path(carrier)))
            for _ in range(self._states.count):
                prefix = (*prefix, int(np.argmax(self._law(prefix))))
                rows.append(prefix)
        self.carried += len(carriers)
        kept, self._law = self._law, self._guess
        try:
            return scores, self._scores(rows)
        finally:
            self._law = kept


def pseudo_part(kind: str, count: int = 3, **facts: float) -> Part:
    """A part of the right shapes, which the table only counts."""
    arrays = {
        "depths": np.full(count, 2, np.float32),
        "shifts": np.zeros((count, WIDTH), np.float32),
    }
    if kind == "hidden-transfer":
        arrays["maps"] = np.zeros((count, WIDTH, WIDTH), np.float32)
    elif kind == "lexical":
        facts = {"sure": 0.5, **facts}
    return Part(kind, "0" * 16, arrays, facts)
