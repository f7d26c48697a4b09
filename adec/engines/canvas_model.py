"""What every canvas engine shares: checks, the shift, and which positions have keys and values.

A canvas model holds no sequence that grows at its end. The methods of `Engine` that would let it
grow raise EngineError, so that one kind of object can stand wherever a loaded model is held.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from adec.engines.base import CanvasFacts, Capability, ModelHeader
from adec.engines.sequence import SequenceEngine
from adec.engines.vocabularies.vocabulary import Tokenizer
from adec.errors import EngineError
from adec.signals import ArrayScores, Scores
from adec.tree import TokenTree

CANVAS: frozenset[Capability] = frozenset({"canvas"})
NO_SEQUENCE = "it is a diffusion model, which fills a canvas in any order"
MISSING: dict[Capability, str] = {
    what: NO_SEQUENCE for what in ("rewind", "tree", "layers", "vectors")
}
"""Why a canvas model lacks what others have."""


class CanvasModel(SequenceEngine):
    """A `CanvasEngine` whose subclass supplies `_rows` and, if it reuses, forgets in `_drop`."""

    reuses = False

    def __init__(self, header: ModelHeader, tokenizer: Tokenizer, *, context: int) -> None:
        super().__init__(header, tokenizer, context=context, branches=1)
        if header.canvas is None:
            raise EngineError(f"{header.info.name} is no diffusion model")
        self._facts: CanvasFacts = header.canvas
        # of each position, whether keys and values are kept
        self._known: list[bool] = []

    @property
    def mask(self) -> int:
        """The id of the mask token."""
        return self._facts.mask

    @abstractmethod
    def _rows(
        self, canvas: Sequence[int], rows: Sequence[int], refresh: Sequence[int] | None
    ) -> NDArray[np.float32]:
        """Logits of the model's own `rows`, in that order, in an array that nobody else holds.

        Only positions of `refresh` (sorted) get new keys and values; None: all of them do. A row
        outside `refresh` is computed for its logits alone.
        """

    def _batch_rows(
        self, canvases: Sequence[Sequence[int]], rows: Sequence[Sequence[int]]
    ) -> list[NDArray[np.float32]]:
        """As `_rows` for several canvases of one length, without keys and values.

        One after the other, unless a subclass can do better.
        """
        return [
            self._rows(canvas, asked, None) for canvas, asked in zip(canvases, rows, strict=True)
        ]

    @abstractmethod
    def _drop(self) -> None:
        """Forget all keys and values."""

    def canvas_scores(
        self,
        canvas: Sequence[int],
        *,
        positions: Sequence[int] | None = None,
        refresh: Sequence[int] | None = None,
    ) -> Scores:
        """See `CanvasEngine.canvas_scores`."""
        self._check_open()
        asked, kept = self._checked(canvas, positions, refresh)
        if not asked and kept is not None and not kept:
            return ArrayScores(np.empty((0, self.info.vocabulary), dtype=np.float32))
        rows = [max(0, place - 1) for place in asked] if self._facts.shift else asked
        try:
            logits = self._rows(canvas, rows, kept)
        except BaseException:
            # what was written of the keys and values is not known
            self.forget()
            raise
        logits[:, self.mask] = -np.inf
        if kept is None:
            self._known = [True] * len(canvas)
        else:
            for place in kept:
                self._known[place] = True
        return ArrayScores(logits)

    def canvas_batch(
        self, canvases: Sequence[Sequence[int]], positions: Sequence[Sequence[int]]
    ) -> list[Scores]:
        """See `CanvasEngine.canvas_batch`."""
        self._check_open()
        self.forget()
        if len({len(canvas) for canvas in canvases}) > 1:
            raise EngineError("canvases of a batch must have one length")
        rows: list[list[int]] = []
        for canvas, asked in zip(canvases, positions, strict=True):
            places, _ = self._checked(canvas, asked, None)
            rows.append([max(0, place - 1) if self._facts.shift else place for place in places])
        try:
            tables = self._batch_rows(canvases, rows)
        finally:
            self.forget()
        for logits in tables:
            logits[:, self.mask] = -np.inf
        return [ArrayScores(logits) for logits in tables]

    def forget(self) -> None:
        """See `CanvasEngine.forget`."""
        self._known = []
        self._drop()

    def _checked(
        self,
        canvas: Sequence[int],
        positions: Sequence[int] | None,
        refresh: Sequence[int] | None,
    ) -> tuple[Sequence[int], list[int] | None]:
        """The positions to score, and those to refresh, sorted. Raises EngineError."""
        size = len(canvas)
        self._check_feed(canvas, 0)
        asked = range(size) if positions is None else positions
        if any(not 0 <= place < size for place in asked):
            raise EngineError(f"a position outside a canvas of {size}")
        if refresh is None:
            return asked, None
        if not self.reuses:
            raise EngineError(f"{self.info.name} cannot reuse keys and values")
        kept = sorted(set(refresh))
        if kept and not 0 <= kept[0] <= kept[-1] < size:
            raise EngineError(f"a position outside a canvas of {size}")
        fresh = set(kept)
        if any(place not in fresh for place in asked):
            raise EngineError("scores of a position that is not refreshed")
        # positions of a canvas of another length count as far as both go
        self._known = [*self._known[:size], *[False] * (size - len(self._known))]
        missing = next((i for i in range(size) if i not in fresh and not self._known[i]), None)
        if missing is not None:
            raise EngineError(f"position {missing} has no keys and values yet: refresh it")
        return asked, kept

    def _append(self, tokens: Sequence[int], rows: int) -> Scores:
        raise EngineError(f"{self.info.name} does not write from left to right: {NO_SEQUENCE}")

    def _append_tree(self, tree: TokenTree, known: int, first_row: int) -> Scores:
        raise EngineError(f"{self.info.name} runs no token trees: {NO_SEQUENCE}")

    def _keep(self, tree: TokenTree, path: Sequence[int]) -> None:
        raise EngineError(f"{self.info.name} runs no token trees: {NO_SEQUENCE}")

    def _cut(self, length: int) -> None:
        self.forget()

    def _restore(self, length: int) -> bool:
        return True
