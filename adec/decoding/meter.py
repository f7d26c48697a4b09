"""Times the forwards of one step, and the strategy's own work between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from adec.engines.base import Engine
from adec.engines.protocols import CanvasEngine, LayerEngine
from adec.events.records import Forward, Kind, Purpose, Role, Step, Token
from adec.signals import Scores
from adec.tree import TokenTree


class Meter:
    """Between `start` and `step`, wall time is either a forward's or the strategy's own.

    Between a `step` and the next `start` the consumer of steps works: that time is nobody's here.
    """

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Begin a new step."""
        self._forwards: list[Forward] = []
        self._climbed_ms = 0.0
        self._began = perf_counter()

    @property
    def ms(self) -> float:
        """Milliseconds since the step began."""
        return 1000 * (perf_counter() - self._began)

    @contextmanager
    def away(self) -> Iterator[None]:
        """Leave out the time inside: a model reads its prompt in steps of its own, say."""
        left = perf_counter()
        try:
            yield
        finally:
            self._began += perf_counter() - left

    def stated_ms(self, engine: Engine, model: Role, count: int) -> float | None:
        """What a forward of `count` tokens takes, asked before it; None: it is timed.

        A simulator overrides this. The clock then follows what is stated.
        """
        return None

    def stated_canvas_ms(self, model: Role, count: int) -> float | None:
        """As `stated_ms`, of a forward that computes `count` positions of canvases."""
        return None

    def forward(
        self,
        engine: Engine,
        model: Role,
        purpose: Purpose,
        tokens: Sequence[int],
        *,
        rows: int = 1,
        prompt: int = 0,
        layers: int | None = None,
    ) -> Scores:
        """`engine.forward`, timed and counted. `layers`: how many of them run, if not all do.

        The first `prompt` tokens are the end of a prompt: their share of the forward, by number, is
        counted as reading it.
        """
        began = perf_counter()
        count = len(tokens)
        stated = self.stated_ms(engine, model, count)
        scores = engine.forward(tokens, rows=rows)
        ms = self._ms(began, stated)
        ms = self._beside(engine, model, count, ms)
        if prompt:
            self._forwards.append(Forward(model, "prompt", prompt, ms * prompt / count))
            ms, count = ms * (count - prompt) / count, count - prompt
        self._forwards.append(Forward(model, purpose, count, ms, layers))
        return scores

    def forward_tree(
        self,
        engine: Engine,
        model: Role,
        purpose: Purpose,
        tree: TokenTree,
        *,
        first_row: int = 0,
        known: int = 0,
    ) -> Scores:
        """`engine.forward_tree`, timed and counted.

        The first `known` nodes are those of the pending tree, which are not run again.
        """
        began = perf_counter()
        count = len(tree) - known
        stated = self.stated_ms(engine, model, count)
        scores = engine.forward_tree(tree, first_row=first_row)
        ms = self._beside(engine, model, count, self._ms(began, stated))
        self._forwards.append(Forward(model, purpose, count, ms))
        return scores

    def read(
        self, engine: LayerEngine, model: Role, tokens: Sequence[int], *, rows: int = 1
    ) -> Scores:
        """Read a part of a prompt with all layers, so that the states of every depth are kept."""
        began = perf_counter()
        engine.lower(tokens, engine.info.layers)
        scores = engine.scores_at(engine.info.layers, rows=rows)
        if rows:
            # rows on an accelerator are computed when they are asked for
            scores.argmax(0)
        self._forwards.append(Forward(model, "prompt", len(tokens), self._ms(began, None)))
        return scores

    def lower(self, engine: LayerEngine, model: Role, tokens: Sequence[int], depth: int) -> Scores:
        """Draft with the lowest `depth` layers: `lower`, then the last token's row at that exit."""
        began = perf_counter()
        engine.lower(tokens, depth)
        scores = engine.scores_at(depth)
        # rows on an accelerator are computed when they are asked for
        scores.argmax(0)
        self._forwards.append(Forward(model, "draft", len(tokens), self._ms(began, None), depth))
        return scores

    def finish(
        self, engine: LayerEngine, model: Role, tokens: Sequence[int], drafts: int, depth: int
    ) -> Scores:
        """Feed `tokens` and run all layers that the last `drafts` tokens, at `depth`, still miss.

        One batch; a row for each of these and for the last of `tokens`. Without drafts it is a
        plain forward.
        """
        if drafts == 0:
            return self.forward(engine, model, "write", tokens)
        began = perf_counter()
        engine.lower(tokens, depth)
        scores = engine.finish(rows=drafts + 1)
        scores.argmax(0)
        layers = engine.info.layers - depth
        ms = self._ms(began, None)
        self._forwards.append(Forward(model, "verify", drafts + len(tokens), ms, layers))
        return scores

    def climb(self, engine: LayerEngine, tokens: Sequence[int], depth: int) -> None:
        """Run layers up to `depth`: those of new `tokens`, or of unfinished ones where there is
        none. The time counts once the tokens `leave`."""
        began = perf_counter()
        if tokens:
            engine.lower(tokens, depth)
        else:
            engine.deepen(depth)
        self._climbed_ms += self._ms(began, None)

    def leave(self, engine: LayerEngine, model: Role, depth: int) -> Scores:
        """The row of the newest token at `depth`, where it writes; layers above pass it by.

        One forward with the layers that it climbed.
        """
        began = perf_counter()
        scores = engine.scores_at(depth)
        # rows on an accelerator are computed when they are asked for
        scores.argmax(0)
        whole = depth == engine.info.layers
        if not whole:
            engine.propagate()
        ms = self._climbed_ms + self._ms(began, None)
        self._climbed_ms = 0.0
        self._forwards.append(Forward(model, "write", 1, ms, None if whole else depth))
        return scores

    def canvas(
        self,
        engine: CanvasEngine,
        model: Role,
        canvas: Sequence[int],
        places: Sequence[int],
        refresh: Sequence[int] | None = None,
    ) -> Scores:
        """`engine.canvas_scores`, timed; counted are the positions that it computes anew."""
        began = perf_counter()
        count = len(canvas) if refresh is None else len(refresh)
        stated = self.stated_canvas_ms(model, count)
        scores = engine.canvas_scores(canvas, positions=places, refresh=refresh)
        self._forwards.append(Forward(model, "write", count, self._ms(began, stated)))
        return scores

    def canvases(
        self,
        engine: CanvasEngine,
        model: Role,
        canvases: Sequence[Sequence[int]],
        places: Sequence[Sequence[int]],
    ) -> list[Scores]:
        """`engine.canvas_batch`, timed as one forward; counted are the positions of all."""
        began = perf_counter()
        count = sum(map(len, canvases))
        stated = self.stated_canvas_ms(model, count)
        scores = engine.canvas_batch(canvases, places)
        self._forwards.append(Forward(model, "write", count, self._ms(began, stated)))
        return scores

    def rewind(self, engine: Engine, model: Role, length: int) -> None:
        """`engine.rewind`; timed and noted as a forward where it runs the model again."""
        if not engine.rewinds_by_reading:
            engine.rewind(length)
            return
        began = perf_counter()
        engine.rewind(length)
        self._forwards.append(Forward(model, "rewind", 0, self._ms(began, None)))

    def _beside(self, engine: Engine, model: Role, count: int, ms: float) -> float:
        """What a forward of `count` tokens took without the positions that it ran beside them.

        These count as drafting: their share of the time is that of the layers that they ran.
        """
        # not isinstance: a protocol's takes as long as all else here
        positions, layers = getattr(engine, "beside", (0, 0))
        if not positions:
            return ms
        share = positions * layers / (positions * layers + count * engine.info.layers)
        self._forwards.append(Forward(model, "draft", positions, ms * share, layers))
        return ms * (1 - share)

    def _ms(self, began: float, stated: float | None) -> float:
        ms = 1000 * (perf_counter() - began)
        if stated is None:
            return ms
        self._began -= (stated - ms) / 1000
        return stated

    @property
    def forwards(self) -> list[Forward]:
        """The forwards of the step so far."""
        return self._forwards

    def step(self, kind: Kind, tokens: tuple[Token, ...] = (), **parts: Any) -> Step:
        """The step that ends here; `parts` are further fields of `Step`."""
        forwards, total = tuple(self._forwards), self.ms
        own = max(0.0, total - sum(forward.ms for forward in forwards))
        return Step(kind, tokens, forwards, own, **parts)
