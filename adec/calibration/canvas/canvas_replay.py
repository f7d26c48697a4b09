"""Rules replayed on trajectories: their own code and the canvas loop, on rows that were recorded.

A rule fills several positions where the reference filled one, so it soon has a canvas that the
reference never met. It then sees, of each mask, the row of the reference's canvas with as many
positions of the answer filled, or of the last one before it in which that position was a mask.
Where the rule fills what the reference wrote, in about its order, these rows are near to the
model's own. A replay cannot know

- what the model says of a canvas with the same number of other positions filled,
- what it says after a token that the reference would not have written (a run ends there, as it does
  on the records of a pair),
- what a reused key or value does to a row: caches have their time here, and no loss.

So settings are only chosen by it, and what is chosen runs for real.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from adec.calibration.canvas.trajectory import MaskRow, Trajectory
from adec.calibration.costs.cost_tables import CostTable
from adec.calibration.replay.simulate import limits_by_tables
from adec.calibration.trials.trial import Point, Trial
from adec.decoding.diffusion.canvas_loop import canvas_engine
from adec.decoding.pair.clock.cost_curve import Curves
from adec.decoding.registry import find_method
from adec.decoding.strategy import Aids, Prompt
from adec.engines.base import CanvasFacts, ModelHeader
from adec.engines.canvas_model import CANVAS, MISSING, CanvasModel
from adec.engines.pair import Engines
from adec.events.records import CanvasRecord, Role
from adec.parts.part import Part

ROWS_KEPT = 4096
"""Rows of logits that are kept ready."""


class RecordedCanvas(CanvasModel):
    """A canvas model as a trajectory has it."""

    def __init__(self, engines: Engines) -> None:
        engine, model = canvas_engine(engines), engines["large"]
        facts = CanvasFacts(engine.mask, shift=False, reuses=engine.reuses)
        header = ModelHeader(model.info, model.vocabulary, CANVAS, MISSING, canvas=facts)
        super().__init__(header, model.tokenizer, context=model.context)
        self.reuses = engine.reuses
        self._start = 0

    def play(self, trajectory: Trajectory, start: int) -> None:
        """Be this trajectory from now on, of an answer that begins at `start`."""
        self.forget()
        self._start = start
        self._inside = len(trajectory.tokens)
        self._progress = self._counts(trajectory)
        self._seen: dict[int, tuple[list[int], list[MaskRow]]] = {}
        for forward, rows in enumerate(trajectory.rows):
            for row in rows:
                at, known = self._seen.setdefault(row.place, ([], []))
                at.append(forward)
                known.append(row)

    def _rows(
        self, canvas: Sequence[int], rows: Sequence[int], refresh: Sequence[int] | None
    ) -> NDArray[np.float32]:
        answer = canvas[self._start :]
        inside, filled = (
            sum(token != self.mask for token in part) for part in (answer[: self._inside], answer)
        )
        forward = max(0, bisect_right(self._progress, (inside, filled)) - 1)
        size = self.info.vocabulary
        logits = np.empty((len(rows), size), dtype=np.float32)
        for i, place in enumerate(rows):
            logits[i] = _logits(self._row(place - self._start, forward), size)
        return logits

    def _counts(self, trajectory: Trajectory) -> list[tuple[int, int]]:
        """Before each forward, how many positions of the answer stand, and how many of the canvas.

        The first never falls. The second does where an end token cuts the canvas.
        """
        standing: set[int] = set()
        found: list[tuple[int, int]] = []
        for place, token in trajectory.fills:
            found.append((sum(p < self._inside for p in standing), len(standing)))
            standing.add(place)
            if token in self.vocabulary.end:
                standing = {p for p in standing if p <= place}
        return found

    def _row(self, place: int, forward: int) -> MaskRow:
        """What is on record of a mask. The farthest one stands for what lies behind the record."""
        at, known = self._seen.get(place) or self._seen[max(self._seen)]
        return known[max(0, bisect_right(at, forward) - 1)]

    def _drop(self) -> None:
        pass

    def _free(self) -> None:
        pass


@lru_cache(ROWS_KEPT)
def _logits(row: MaskRow, size: int) -> NDArray[np.float32]:
    return row.logits(size)


class CanvasReplay:
    """A `Replay` on trajectories."""

    pair = False

    def __init__(
        self,
        engines: Engines,
        tables: Mapping[Role, CostTable],
        curves: Curves,
        prompts: Sequence[Sequence[int]],
        trajectories: Sequence[Trajectory],
        *,
        max_tokens: int,
        part: Callable[[str], Part],
    ) -> None:
        """`part`: finds what was learned for the model."""
        self.records = trajectories
        self._prompts = prompts
        self._engine = RecordedCanvas(engines)
        self._aids = Aids(curves.by_role, part=part)
        self._limits = limits_by_tables(tables, engines, max_tokens)

    def run(self, point: Point, index: int, *, on_path: bool = False) -> Trial:
        """What the point would write for a prompt, and what that would take.

        `on_path`: end the run where a position is filled with another token than the reference's.
        The trial's tokens are then so many of the answer's as were filled rightly, whatever their
        order, and a last one that differs. Positions behind the answer's end count for nothing.
        """
        trajectory, prompt = self.records[index], Prompt(tuple(self._prompts[index]))
        answer = trajectory.tokens
        self._engine.play(trajectory, len(prompt.ids))
        method = find_method(point.strategy)
        strategy = method.build(Engines(large=self._engine), point.build_settings(), self._aids)
        tokens: list[int] = []
        ms = own_ms = 0.0
        right = fed = forwards = 0
        for step in strategy.generate(prompt, self._limits):
            own_ms += step.own_ms
            for forward in step.forwards:
                ms += forward.ms
                fed += forward.tokens
                forwards += 1
            tokens += [token.id for token in step.tokens]
            if on_path:
                assert isinstance(step.detail, CanvasRecord)
                filled = {t.position or 0: t.id for t in step.detail.filled}
                inside = {place: t for place, t in filled.items() if place < len(answer)}
                good = sum(answer[place] == token for place, token in inside.items())
                right += good
                if good < len(inside):
                    tokens = [*answer[:right], -1]
                    break
        return Trial(tuple(tokens), "", ms + own_ms, own_ms, len(tokens), fed, forwards)
