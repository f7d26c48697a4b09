"""The contract of a canvas engine as tests: subclass `CanvasContract` for every backend."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from adec.engines.canvas_model import CanvasModel
from adec.engines.protocols import CanvasEngine
from adec.errors import EngineError
from adec.signals import Scores

Fresh = Callable[[], CanvasModel]


def rows_of(scores: Scores) -> np.ndarray:
    """(rows, vocabulary) in float64."""
    return np.stack([scores.row(i) for i in range(len(scores))]).astype(np.float64)


class CanvasContract:
    """Set `tolerance`, and implement `fresh`: a factory of engines on one model."""

    tolerance = 1e-4

    @pytest.fixture
    def fresh(self) -> Fresh:
        raise NotImplementedError

    def canvas(self, engine: CanvasModel, size: int = 24, seed: int = 5) -> list[int]:
        """Random tokens, some of them masks."""
        rng = random.Random(seed)
        known = [token for token in range(engine.info.vocabulary) if token != engine.mask]
        return [engine.mask if rng.random() < 0.4 else rng.choice(known) for _ in range(size)]

    def assert_close(self, left: np.ndarray, right: np.ndarray) -> None:
        alive = np.isfinite(left)
        assert (alive == np.isfinite(right)).all()
        assert np.abs(left[alive] - right[alive]).max(initial=0.0) <= self.tolerance

    def differ(self, left: np.ndarray, right: np.ndarray) -> bool:
        alive = np.isfinite(left)
        return bool(np.abs(left[alive] - right[alive]).max(initial=0.0) > 10 * self.tolerance)

    def other(self, engine: CanvasModel, token: int) -> int:
        """Some token that is neither this one nor the mask."""
        return next(t for t in range(4, engine.info.vocabulary) if t not in (token, engine.mask))

    def test_it_is_a_canvas_engine_and_no_sequence(self, fresh: Fresh) -> None:
        engine = fresh()
        assert isinstance(engine, CanvasEngine)
        assert engine.capabilities == {"canvas"}
        assert engine.length == 0
        engine.rewind(0)
        with pytest.raises(EngineError, match="diffusion model"):
            engine.forward([4])

    def test_some_positions_in_any_order_are_those_of_all(self, fresh: Fresh) -> None:
        engine = fresh()
        canvas = self.canvas(engine)
        every = rows_of(engine.canvas_scores(canvas))
        assert every.shape == (len(canvas), engine.info.vocabulary)
        picked = [17, 0, 3, 23]
        self.assert_close(rows_of(engine.canvas_scores(canvas, positions=picked)), every[picked])

    def test_the_mask_is_no_answer(self, fresh: Fresh) -> None:
        engine = fresh()
        every = rows_of(engine.canvas_scores(self.canvas(engine)))
        assert (every[:, engine.mask] == -np.inf).all()

    def test_every_position_sees_both_sides(self, fresh: Fresh) -> None:
        engine = fresh()
        canvas = self.canvas(engine)
        before = rows_of(engine.canvas_scores(canvas))
        for changed in (2, 21):
            other = list(canvas)
            other[changed] = self.other(engine, canvas[changed])
            after = rows_of(engine.canvas_scores(other))
            assert self.differ(before[10:11], after[10:11])

    def test_a_batch_scores_what_its_canvases_score_alone(self, fresh: Fresh) -> None:
        engine, single = fresh(), fresh()
        canvases = [self.canvas(engine, 16, seed=seed) for seed in range(3)]
        asked = [[3, 1], list(range(16)), [0]]
        found = engine.canvas_batch(canvases, asked)
        for canvas, places, scores in zip(canvases, asked, found, strict=True):
            rows = rows_of(scores)
            assert (rows[:, engine.mask] == -np.inf).all()
            self.assert_close(rows, rows_of(single.canvas_scores(canvas, positions=places)))
        with pytest.raises(EngineError, match="one length"):
            engine.canvas_batch([canvases[0], canvases[1][:-1]], [[0], [0]])
        # nothing of it is kept
        if engine.reuses:
            with pytest.raises(EngineError, match="no keys and values"):
                engine.canvas_scores(canvases[2], positions=[], refresh=[0])

    def test_canvases_of_several_lengths_follow_each_other(self, fresh: Fresh) -> None:
        engine, single = fresh(), fresh()
        for size in (20, 9, 31):
            canvas = self.canvas(engine, size, seed=size)
            single.forget()
            self.assert_close(
                rows_of(engine.canvas_scores(canvas)), rows_of(single.canvas_scores(canvas))
            )

    def test_all_refreshed_equals_uncached(self, fresh: Fresh) -> None:
        engine = fresh()
        canvas = self.canvas(engine)
        if not engine.reuses:
            with pytest.raises(EngineError, match="cannot reuse"):
                engine.canvas_scores(canvas, refresh=range(len(canvas)))
            return
        plain = rows_of(fresh().canvas_scores(canvas))
        self.assert_close(rows_of(engine.canvas_scores(canvas, refresh=range(24))), plain)
        # what an earlier canvas left behind plays no part
        other = self.canvas(engine, seed=6)
        engine.canvas_scores(other)
        self.assert_close(rows_of(engine.canvas_scores(canvas, refresh=range(24))), plain)

    def calls(
        self, fresh: Fresh, *made: tuple[Sequence[int], Sequence[int] | None]
    ) -> np.ndarray | None:
        """The rows of the last of these calls on a new engine; None where nothing is reused."""
        engine = fresh()
        if not engine.reuses:
            return None
        rows = np.empty(0)
        for canvas, refresh in made:
            rows = rows_of(engine.canvas_scores(canvas, positions=refresh, refresh=refresh))
        return rows

    def test_exactly_what_is_refreshed_is_kept(self, fresh: Fresh) -> None:
        engine = fresh()
        if not engine.reuses:
            pytest.skip("keeps nothing")
        first = self.canvas(engine)
        changed = list(first)
        for place in (4, 8, 12):
            changed[place] = self.other(engine, first[place])
        late = [6, 10, 20]
        base = self.calls(fresh, (first, None), (first, late))
        # a changed token that is not refreshed is not seen
        unseen = self.calls(fresh, (first, None), (changed, late))
        assert base is not None and unseen is not None
        self.assert_close(base, unseen)
        # once refreshed it is seen, also by forwards that do not refresh it
        seen = self.calls(fresh, (first, None), (changed, [4, 12]), (changed, late))
        assert seen is not None
        assert self.differ(base, seen)
        # 8 was not refreshed beside 4 and 12, nor was anything else
        garbled = list(changed)
        for place in (0, 3, 8, 15):
            garbled[place] = self.other(engine, changed[place])
        same = self.calls(fresh, (first, None), (changed, [4, 12]), (garbled, late))
        assert same is not None
        self.assert_close(seen, same)
        # a row that is computed beside the refreshed ones, as where rows are shifted, is not kept
        aside = list(first)
        aside[8] = self.other(engine, first[8])
        with_it = self.calls(fresh, (first, None), (aside, [9]), (first, [20]))
        without = self.calls(fresh, (first, None), (first, [9]), (first, [20]))
        assert with_it is not None and without is not None
        self.assert_close(with_it, without)

    def test_what_it_cannot_do_is_said(self, fresh: Fresh) -> None:
        engine = fresh()
        canvas = self.canvas(engine)
        with pytest.raises(EngineError, match="outside"):
            engine.canvas_scores(canvas, positions=[24])
        with pytest.raises(EngineError, match="at least one token"):
            engine.canvas_scores([])
        with pytest.raises(EngineError, match="context"):
            engine.canvas_scores([4] * (engine.context + 1))
        with pytest.raises(EngineError, match="vocabulary"):
            engine.canvas_scores([engine.info.vocabulary])
        if engine.reuses:
            with pytest.raises(EngineError, match="no keys and values yet"):
                engine.canvas_scores(canvas, positions=[3], refresh=[3])
            engine.canvas_scores(canvas)
            with pytest.raises(EngineError, match="not refreshed"):
                engine.canvas_scores(canvas, positions=[3], refresh=[4])
            with pytest.raises(EngineError, match="no keys and values yet"):
                engine.canvas_scores([*canvas, engine.mask], positions=[3], refresh=[3])
            engine.forget()
            with pytest.raises(EngineError, match="no keys and values yet"):
                engine.canvas_scores(canvas, positions=[3], refresh=[3])
        engine.close()
        engine.close()
        with pytest.raises(EngineError, match="closed"):
            engine.canvas_scores(canvas)
