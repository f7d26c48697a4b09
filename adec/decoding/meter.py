"""Times the forwards of one step and the strategy's own work between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from adec.engines.base import Engine
from adec.events.records import Forward, Kind, Purpose, Role, Step, Token
from adec.signals import Scores
from adec.tree import TokenTree


class Meter:
    """Between `start` and `step`, wall time is either a forward's or the strategy's own.

    The consumer of steps works between a `step` and the next `start`; that time is nobody's here.
    """

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Begin a new step."""
        self._forwards: list[Forward] = []
        self._began = perf_counter()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Time inside is not this step's: a model reads its prompt, say, in steps of its own."""
        left = perf_counter()
        try:
            yield
        finally:
            self._began += perf_counter() - left

    def forward(
        self,
        engine: Engine,
        model: Role,
        purpose: Purpose,
        tokens: Sequence[int],
        *,
        rows: int = 1,
        prompt: int = 0,
    ) -> Scores:
        """`engine.forward`, timed and counted.

        The first `prompt` tokens are the end of a prompt: their share of the forward, by their number, is counted as reading it.
        """
        began = perf_counter()
        scores = engine.forward(tokens, rows=rows)
        self._note(engine, model, purpose, len(tokens), 1000 * (perf_counter() - began))
        if prompt:
            whole = self._forwards.pop()
            shares: tuple[tuple[Purpose, int], ...]
            shares = ("prompt", prompt), (purpose, len(tokens) - prompt)
            self._forwards += [
                Forward(model, share, count, whole.ms * count / len(tokens))
                for share, count in shares
            ]
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
        """`engine.forward_tree`, timed and counted; `known`: nodes of a pending tree, which are not run again."""
        began = perf_counter()
        scores = engine.forward_tree(tree, first_row=first_row)
        self._note(engine, model, purpose, len(tree) - known, 1000 * (perf_counter() - began))
        return scores

    def _note(self, engine: Engine, model: Role, purpose: Purpose, count: int, ms: float) -> None:
        stated: float | None = getattr(engine, "stated_ms", None)
        if stated is not None:
            # an engine that replays a record says what the forward would take; the clock follows it
            self._began -= (stated - ms) / 1000
            ms = stated
        self._forwards.append(Forward(model, purpose, count, ms))

    @property
    def forwards(self) -> list[Forward]:
        """The forwards of the step so far."""
        return self._forwards

    @property
    def elapsed_ms(self) -> float:
        """Wall time since `start`."""
        return 1000 * (perf_counter() - self._began)

    def step(self, kind: Kind, tokens: tuple[Token, ...] = (), **parts: Any) -> Step:
        """The step that ends here; `parts` are further fields of `Step`."""
        forwards = tuple(self._forwards)
        total = 1000 * (perf_counter() - self._began)
        own = max(0.0, total - sum(forward.ms for forward in forwards))
        return Step(kind, tokens, forwards, own, **parts)
