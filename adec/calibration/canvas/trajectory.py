"""The reference's whole way to an answer: what it said of every mask before each of its forwards.

The reference is the strategy itself (`steps`, one position a forward), on an engine that notes the
rows that pass through it. Rows are kept as their likeliest tokens and their entropy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Annotated

import msgspec
import numpy as np

from adec.decoding.diffusion.canvas_loop import canvas_engine
from adec.decoding.strategy import Limits, Prompt, Strategy
from adec.engines.joined_scores import JoinedScores
from adec.engines.pair import Engines
from adec.engines.wrapped import WrappedEngine
from adec.events.hostile_json import Count
from adec.events.records import CanvasRecord
from adec.signals import Row, Scores

LISTED, LEAST_LISTED = 8, 2
"""Likeliest tokens of a row that are kept: at most, and in any case."""
ENOUGH = 0.9995
"""Probability after which no more are kept: most masks are nearly sure of one token."""
DIGITS = 6

Chance = Annotated[float, msgspec.Meta(ge=0, le=1)]


class MaskRow(msgspec.Struct, frozen=True, array_like=True):
    """What one forward said of one mask."""

    place: Count
    """From the beginning of the answer."""
    nats: Annotated[float, msgspec.Meta(ge=0)]
    """Its entropy."""
    ids: tuple[Count, ...]
    """Likeliest tokens, likeliest first."""
    chances: tuple[Chance, ...]

    def logits(self, size: int) -> Row:
        """A row with these chances over `size` tokens.

        What the list leaves is spread evenly over as many of the other tokens as give the row its
        entropy, so that a rule sees the entropy that the model had.
        """
        listed = np.maximum(np.array(self.chances, dtype=np.float64), 1e-12)
        row = np.full(size, -np.inf, dtype=np.float32)
        rest = 1 - float(listed.sum())
        others = np.ones(size, dtype=np.bool_)
        others[list(self.ids)] = False
        if rest > 1e-9 and len(self.ids) < size:
            nats = self.nats + float(listed @ np.log(listed))
            count = math.exp(min(60.0, max(0.0, nats / rest + math.log(rest))))
            # none of them may be likelier than the last one of the list
            least = math.ceil(rest / float(listed[-1]))
            spread = max(1, min(size - len(self.ids), max(least, round(count))))
            row[np.flatnonzero(others)[:spread]] = math.log(rest / spread)
        row[list(self.ids)] = np.log(listed)
        return row


class Trajectory(msgspec.Struct, frozen=True):
    """One answer, forward by forward."""

    prompt_tokens: Count
    tokens: tuple[Count, ...]
    """The answer, end token included."""
    fills: tuple[tuple[Count, Count], ...]
    """Place and token that each forward filled."""
    rows: tuple[tuple[MaskRow, ...], ...]
    """All masks, before each forward."""

    def __post_init__(self) -> None:
        if not self.tokens or len(self.fills) != len(self.rows) or not all(self.rows):
            raise ValueError("a trajectory has rows for every forward")
        for row in (row for rows in self.rows for row in rows):
            if not 1 <= len(row.ids) == len(row.chances):
                raise ValueError("a row has a chance for each of its tokens")

    @property
    def highest_id(self) -> int:
        """The greatest token id anywhere."""
        listed = max(max(row.ids) for rows in self.rows for row in rows)
        return max(listed, *self.tokens, *(token for _, token in self.fills))

    @property
    def filled_nats(self) -> Iterator[float]:
        """The entropy of each position when it was filled."""
        for (place, _), rows in zip(self.fills, self.rows, strict=True):
            yield from (row.nats for row in rows if row.place == place)


class NotingCanvas(WrappedEngine):
    """A canvas engine that also scores all other masks of a canvas, and notes what they say."""

    reuses = False

    def __init__(self, engines: Engines, start: int) -> None:
        """`start`: where the answer begins."""
        super().__init__(engines["large"])
        self._canvas = canvas_engine(engines)
        self._start = start
        self.noted: list[tuple[MaskRow, ...]] = []

    @property
    def mask(self) -> int:
        """The id of the mask token."""
        return self._canvas.mask

    def forget(self) -> None:
        """See `CanvasEngine.forget`."""
        self._canvas.forget()

    def canvas_batch(
        self, canvases: Sequence[Sequence[int]], positions: Sequence[Sequence[int]]
    ) -> list[Scores]:
        """See `CanvasEngine.canvas_batch`; nothing is noted."""
        return self._canvas.canvas_batch(canvases, positions)

    def canvas_scores(
        self,
        canvas: Sequence[int],
        *,
        positions: Sequence[int] | None = None,
        refresh: Sequence[int] | None = None,
    ) -> Scores:
        """As the engine's. What was asked comes first among what is scored."""
        asked = list(range(len(canvas)) if positions is None else positions)
        masks = [i for i in range(self._start, len(canvas)) if canvas[i] == self.mask]
        every = [*asked, *sorted({*masks} - {*asked})]
        scores = self._canvas.canvas_scores(canvas, positions=every, refresh=refresh)
        at = {place: i for i, place in enumerate(every)}
        self.noted.append(tuple(_row(scores, at[i], i - self._start) for i in masks))
        return JoinedScores([(scores, i) for i in range(len(asked))])


def record_trajectory(
    reference: Strategy, noting: NotingCanvas, prompt: Sequence[int], limits: Limits
) -> Trajectory:
    """The trajectory of a reference that was built on `noting`. Raises EngineError."""
    fills: list[tuple[int, int]] = []
    tokens: list[int] = []
    for step in reference.generate(Prompt(tuple(prompt)), limits):
        assert isinstance(step.detail, CanvasRecord)
        fills += [(token.position or 0, token.id) for token in step.detail.filled]
        tokens += [token.id for token in step.tokens]
    return Trajectory(len(prompt), tuple(tokens), tuple(fills), tuple(noting.noted))


def _row(scores: Scores, index: int, place: int) -> MaskRow:
    listed = scores.top(index, LISTED)
    total, count = 0.0, 0
    while count < len(listed) and (count < LEAST_LISTED or total < ENOUGH):
        total += listed[count][1]
        count += 1
    return MaskRow(
        place,
        round(max(0.0, scores.entropy(index)), DIGITS),
        tuple(token for token, _ in listed[:count]),
        tuple(min(1.0, round(chance, DIGITS)) for _, chance in listed[:count]),
    )
