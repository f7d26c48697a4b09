"""The stages of a calibration of a diffusion model.

They are those of `stages`, but for what such a model has or lacks:

- The yardstick is the reference, one position a forward.
- A record is the reference's whole trajectory, on which rules are replayed.
- A forward's time goes by the positions of its canvas.
- No exactness of forwards by their number of tokens, and no thresholds of AdaDec.
- Where keys and values can be reused, the best points are also run with caches, whose loss no
  replay knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from adec.calibration.canvas.canvas_grids import CACHES, CANVAS_EXACT
from adec.calibration.canvas.canvas_replay import CanvasReplay
from adec.calibration.canvas.trajectory import NotingCanvas, Trajectory, record_trajectory
from adec.calibration.costs.cost_tables import CostTable
from adec.calibration.prompts import KnownPrompt
from adec.calibration.replay.agreement import PERCENTILES, Agreement
from adec.calibration.replay.choose import MOST_RECORDS, Shortlist
from adec.calibration.replay.pause_thresholds import Learned
from adec.calibration.replay.recording import Answer
from adec.calibration.replay.simulate import Replay
from adec.calibration.stages import Calibration
from adec.calibration.trials.measured import Measured
from adec.calibration.trials.trial import Point
from adec.decoding.diffusion.canvas_loop import CanvasSize, canvas_engine, larger_context
from adec.decoding.pair.clock.cost_curve import Curves
from adec.decoding.registry import check_method, find_method
from adec.decoding.strategy import Aids, Limits
from adec.engines.pair import Engines
from adec.errors import ModelFileError, PairError, UsageError
from adec.events.hostile_json import JsonReader
from adec.events.records import Role
from adec.parts.kept_parts import need_part

CACHED = 1
"""Points that are run with every cache, too: those forecast to be fastest."""

_TRAJECTORY: JsonReader[Trajectory] = JsonReader(Trajectory)


class CanvasCalibration(Calibration):
    """One calibration of a diffusion model."""

    helpers_record = False

    def __init__(
        self, *given: Any, say: Callable[[str], None] = lambda line: None, **more: Any
    ) -> None:
        """As `Calibration`, which see. Says where the context cuts canvases short."""
        super().__init__(*given, **more)
        engine, canvas = canvas_engine(self._engines), CanvasSize().canvas
        asked = self._prompts.all
        rooms = [engine.context - len(self._runner.encode(prompt)) for prompt in asked]
        short = [room for room in rooms if room < canvas]
        if short:
            line = (
                f"the canvas has fewer than {canvas} positions behind {len(short)} of {len(asked)}"
                f" prompts, {min(short)} at least, which may change their answers: the context of"
                f" {engine.context:,} leaves no more{larger_context(engine)}"
            )
            self._remarks.append(line)
            say(line)

    def _record(self, index: int, prompt: KnownPrompt, answer: Answer) -> Trajectory | None:
        """The trajectory of an answer; None once there are as many as are replayed."""
        if index >= MOST_RECORDS:
            return None
        name = f"trajectory {index}"
        kept = self._journal.get(name, _TRAJECTORY)
        if kept is not None and kept.highest_id < len(self._engines["large"].vocabulary):
            return kept
        method = find_method(self._runner.yardstick.strategy)
        ids = self._runner.encode(prompt)
        noting = NotingCanvas(self._engines, len(ids))
        reference = method.build(Engines(large=noting), method.settings(), Aids())
        limits = Limits(
            self._wishes.max_tokens, self._engines["large"].vocabulary.end, signals=False
        )
        found = record_trajectory(reference, noting, ids, limits)
        self._journal.put(name, found)
        return found

    def _answers(self) -> tuple[list[Answer], list[Any], float]:
        answers, records, seconds = super()._answers()
        return answers, [record for record in records if record is not None], seconds

    def _agreement(self, records: Sequence[Any]) -> Agreement:
        """Entropies are those of positions when they were filled."""
        nats = np.array([value for record in records for value in record.filled_nats] or [0.0])
        return Agreement(
            answers=len(records),
            tokens=sum(len(record.tokens) for record in records),
            # a forward computes the whole canvas: nothing precedes it
            context=0,
            share=1.0,
            by_depth=[],
            by_rank=[],
            small_entropy={},
            large_entropy={p: float(np.percentile(nats, p)) for p in PERCENTILES},
            thresholds={},
            logistic=None,
        )

    def _replay(
        self,
        tables: Mapping[Role, CostTable],
        curves: Curves,
        prompts: Sequence[Sequence[int]],
        records: Sequence[Any],
    ) -> Replay:
        model = self._engines["large"].info
        return CanvasReplay(
            self._engines,
            tables,
            curves,
            prompts,
            records,
            max_tokens=self._wishes.max_tokens,
            part=lambda kind: need_part(kind, model),
        )

    def _choose(self, simulator: Replay, run_seconds: float) -> Shortlist:
        shortlist = super()._choose(simulator, run_seconds)
        if "with caches" not in self._journal:
            if canvas_engine(self._engines).reuses and self._wishes.keep < 1:
                shortlist.points += self._cached(shortlist.points)
            # a resumed calibration goes on with the same points
            self._journal.put("points", shortlist.kept)
            self._journal.put("with caches", True)
        return shortlist

    def _cached(self, points: Sequence[Measured]) -> list[Measured]:
        """The fastest points with caches."""
        plain = sorted((m for m in points if not m.exact), key=lambda m: m.forecast_ms or 0.0)
        return [
            Measured(Point(m.point.strategy, (*m.point.settings, ("cache", cache))), False)
            for m in plain[:CACHED]
            for cache in CACHES
        ]

    def _measure_exactness(self, answer: Answer) -> None:
        pass

    def _pauses(self) -> dict[Role, Learned]:
        return {}

    def _exact_variants(self) -> Mapping[str, Sequence[Point]]:
        return CANVAS_EXACT

    def _serves(self, point: Point) -> bool:
        models = self._runner.plan.models
        try:
            check_method(find_method(point.strategy), models, point.build_settings())
        except (PairError, UsageError, ModelFileError):
            return False
        return True
