"""Plain decoding: one model, one token a forward. What every other strategy is measured against."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from adec.decoding.answer import AnswerState, read_prompt
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids, Limits, Prompt, engine_for
from adec.engines.base import Engine
from adec.engines.pair import Engines
from adec.events.records import Guarantee, Role, Step


@dataclass(frozen=True, slots=True)
class PlainSettings:
    """`--set plain.NAME=VALUE`."""

    model: Literal["large", "small"] = setting("large", "which model of a pair answers")


class Plain:
    """`engine` alone writes everything; `model` says which one of a pair it is."""

    name = "plain"
    paper = None

    def __init__(self, engine: Engine, model: Role = "large") -> None:
        self._engine = engine
        self._model: Role = model

    @property
    def guarantee(self) -> Guarantee:
        """Exact for the large model: the small one promises nothing about its tokens."""
        return Guarantee.EXACT if self._model == "large" else Guarantee.APPROXIMATE

    def generate(self, prompt: Prompt, limits: Limits) -> Iterator[Step]:
        """See `Strategy.generate`."""
        engine, model = self._engine, self._model
        answer = AnswerState(prompt, limits, engine.context)
        ahead = answer.room if limits.sampler.greedy else 1
        scores = yield from read_prompt(engine, model, prompt.ids, limits, ahead=ahead)
        meter = limits.meter()
        if answer.done:
            return
        while True:
            token = limits.sampler.pick(scores, 0, len(answer.sequence))
            record = answer.describe(scores, 0, token, model)
            answer.sequence.append(token)
            yield meter.step("write", (record,))
            if answer.done:
                return
            meter.start()
            scores = meter.forward(engine, model, "write", [token])


def build(engines: Engines, settings: PlainSettings, aids: Aids) -> Plain:
    """Plain decoding on one model. Raises UsageError if it is the small one and there is none."""
    model = settings.model
    return Plain(engine_for(engines, model, f"plain.model={model}"), model)
