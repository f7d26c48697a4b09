"""A small model beside a large one that numbers or names a few special tokens in another way."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from adec.engines.base import Engine
from adec.engines.pair import Translation
from adec.engines.wrapped import WrappedEngine
from adec.signals import ArrayScores, Scores
from adec.tree import TokenTree


class TranslatedEngine(WrappedEngine):
    """An engine that takes and scores the ids of the large model.

    A token that it reads is translated, and one that means something else to it has the logit -inf,
    so that no drafter proposes it and no rule of trust lets it stand. What the large model verifies
    is exact with and without this.
    """

    def __init__(self, engine: Engine, translation: Translation) -> None:
        super().__init__(engine)
        self._ids = translation.ids
        width = len(engine.vocabulary)
        self._barred = [token for token in sorted(translation.barred) if token < width]

    def common(self, tokens: Sequence[int]) -> int:
        """See `Engine.common`."""
        return self._engine.common(self._own(tokens))

    def forward(self, tokens: Sequence[int], *, rows: int = 1) -> Scores:
        """See `Engine.forward`."""
        return self._masked(self._engine.forward(self._own(tokens), rows=rows))

    def forward_tree(self, tree: TokenTree, *, first_row: int = 0) -> Scores:
        """See `Engine.forward_tree`."""
        own = dataclasses.replace(tree, tokens=self._own(tree.tokens))
        return self._masked(self._engine.forward_tree(own, first_row=first_row))

    def _own(self, tokens: Sequence[int]) -> list[int]:
        return [self._ids.get(token, token) for token in tokens]

    def _masked(self, scores: Scores) -> Scores:
        if not len(scores) or not self._barred:
            return scores
        rows = np.array([scores.row(index) for index in range(len(scores))])
        rows[:, self._barred] = -np.inf
        return ArrayScores(rows)
