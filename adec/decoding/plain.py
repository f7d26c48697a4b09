"""Plain decoding: one model, one token a forward. What every other strategy is measured against."""

from __future__ import annotations

from collections.abc import Iterator

from adec.decoding.answer import AnswerState, read_prompt
from adec.decoding.strategy import Limits, Prompt
from adec.engines.base import Engine
from adec.events.records import Guarantee, Role, Step


class Plain:
    """`engine` alone writes everything; `model` says which one of a pair it is."""

    name = "plain"
    paper = None

    def __init__(self, engine: Engine, model: Role = "large") -> None:
        self._engine = engine
        self._model: Role = model

    @property
    def guarantee(self) -> Guarantee:
        """Exact for the large model; the small one alone promises nothing about the large one's tokens."""
        return Guarantee.EXACT if self._model == "large" else Guarantee.APPROXIMATE

    def generate(self, prompt: Prompt, limits: Limits) -> Iterator[Step]:
        """See `Strategy.generate`."""
        engine, model = self._engine, self._model
        answer = AnswerState(prompt, limits, engine.context)
        scores = yield from read_prompt(engine, model, prompt.ids, limits)
        meter = limits.meter()
        while not answer.done:
            token = limits.sampler.pick(scores, 0, len(answer.sequence))
            record = answer.describe(scores, 0, token, model)
            answer.commit([record])
            yield meter.step("write", (record,))
            if answer.done:
                return
            meter.start()
            scores = meter.forward(engine, model, "write", [token])
