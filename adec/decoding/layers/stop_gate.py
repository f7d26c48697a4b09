"""A gate on any strategy: an answer ends as soon as it seems lost, whoever writes it.

The stop of SEC (Sun et al. 2024, ICSE 2024, arXiv 2401.09964; `stop_exit.py`) without its exits.
Classifiers see every token's state at several depths, as the large model reads it, and say how
likely the answer goes wrong from there. The strategy is not asked what it does: its steps pass
through, and an engine with layers keeps the states (`LayerEngine.watch`).

What is different here: all layers ran before the gate looks, and drafts that were verified together
are judged together. A step's tokens stand up to the one whose state says that the next is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from msgspec.structs import replace

from adec.decoding.layers.drafting.self_draft import PLAIN_TOKENS
from adec.decoding.layers.exit_classifiers import Classifiers, classifiers_of
from adec.decoding.layers.stop_exit import KIND, STOP
from adec.decoding.strategy import Limits, Prompt, Strategy
from adec.engines.protocols import LayerEngine
from adec.events.records import Guarantee, Step
from adec.parts.part import Part

THRESHOLD = "gate_threshold"
"""The fact of the part that says how lost an answer must seem where all layers are looked at."""


class StopWhenLost:
    """A strategy whose answers end where they seem lost."""

    guarantee = Guarantee.APPROXIMATE

    def __init__(self, inner: Strategy, engine: LayerEngine, part: Callable[[str], Part]) -> None:
        """`engine`: what reads the answer for `inner`. Raises UsageError where there is no part,
        ModelFileError where it does not fit."""
        self._inner = inner
        self._engine = engine
        found = part(KIND)
        self._threshold = found.number(THRESHOLD, least=0, most=1)
        self._stops: Classifiers = classifiers_of(found, engine.info.layers, STOP)

    @property
    def name(self) -> str:
        """That of the strategy behind it."""
        return self._inner.name

    @property
    def paper(self) -> str | None:
        """That of the strategy behind it."""
        return self._inner.paper

    def generate(self, prompt: Prompt, limits: Limits) -> Iterator[Step]:
        """See `Strategy.generate`."""
        engine = self._engine
        self._stops.start()
        written = len(prompt.ids)
        asked = written + PLAIN_TOKENS - 1
        engine.watch(self._stops.depths, asked)
        steps = self._inner.generate(prompt, limits)
        try:
            for step in steps:
                end = written + len(step.tokens)
                asked, depth = self._look(asked, end)
                if depth is not None:
                    stands = max(0, asked + 1 - written)
                    words = f"given up at layer {depth} of {engine.info.layers}: probably wrong"
                    yield replace(step, tokens=step.tokens[:stands], lost=True, reason=words)
                    return
                written = end
                yield step
        finally:
            close = getattr(steps, "close", None)
            if close is not None:
                close()
            engine.watch(())

    def _look(self, first: int, end: int) -> tuple[int, int | None]:
        """Judge what was read of the positions `first` to `end`.

        The first position that was not, or the one that says that the answer is lost, with the
        depth at which it says so.
        """
        if self._threshold >= 1 or first >= min(end, self._engine.length):
            return first, None
        seen = {depth: self._engine.watched(depth, first) for depth in self._stops.depths}
        count = min(max(map(len, seen.values())), end - first)
        for place in range(count):
            for depth, rows in seen.items():
                if place >= len(rows) or np.isnan(rows[place]).any():
                    continue
                if self._stops.probability(depth, rows[place]) >= self._threshold:
                    return first + place, depth
        return first + count, None
