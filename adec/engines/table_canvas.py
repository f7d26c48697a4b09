"""A canvas model given by a function from canvas to distributions: exact and tiny, for tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adec.engines.base import CanvasFacts, ModelHeader, ModelInfo
from adec.engines.canvas_model import CANVAS, MISSING, CanvasModel
from adec.engines.table import LetterTokenizer
from adec.engines.vocabularies.vocabulary import Vocabulary

CanvasLaw = Callable[[tuple[int, ...], int], Sequence[float]]
"""Maps a canvas and a position in it to the probabilities of the token there."""


class TableCanvas(CanvasModel):
    """An engine whose distribution at a position is `law(canvas, position)`.

    A token is one character, from "a" on; the last but one ends an answer, the last is the mask.
    The "key and value" of a position is the token that stood there when it was refreshed. `fed`
    lists the positions that every forward refreshed, so that a test can see what was computed.
    """

    reuses = True

    def __init__(
        self, law: CanvasLaw, *, size: int, context: int = 4096, name: str = "table canvas"
    ) -> None:
        end, mask = size - 2, size - 1
        pieces = (*(chr(ord("a") + i).encode() for i in range(size - 2)), b"<end>", b"<mask>")
        spoken = Vocabulary("table", pieces, frozenset({end, mask}), frozenset({end}))
        info = ModelInfo(
            name=name,
            path=Path(name),
            format="table",
            architecture="table",
            layers=1,
            parameters=size,
            vocabulary=size,
            context_limit=context,
            bytes=0,
            quantisation="exact",
        )
        header = ModelHeader(
            info, spoken, CANVAS, MISSING, canvas=CanvasFacts(mask, shift=False, reuses=True)
        )
        super().__init__(header, LetterTokenizer(spoken), context=context)
        self.header = header
        self._law = law
        self._view: list[int] = []
        self.fed: list[list[int]] = []

    def _rows(
        self, canvas: Sequence[int], rows: Sequence[int], refresh: Sequence[int] | None
    ) -> NDArray[np.float32]:
        fresh = list(range(len(canvas))) if refresh is None else list(refresh)
        self._view = [*self._view[: len(canvas)], *canvas[len(self._view) :]]
        for place in fresh:
            self._view[place] = canvas[place]
        self.fed.append(fresh)
        seen = tuple(self._view)
        table = np.array([self._law(seen, row) for row in rows], dtype=np.float64)
        with np.errstate(divide="ignore"):
            logits: NDArray[np.float32] = np.log(table.reshape(len(rows), -1)).astype(np.float32)
        return logits

    def _drop(self) -> None:
        self._view = []

    def _free(self) -> None:
        pass
