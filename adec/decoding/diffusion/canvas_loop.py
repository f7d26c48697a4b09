"""The loop of every strategy on a canvas: forward, propose, decide which positions stand, repeat.

A rule decides; a cache says which positions are computed anew. Both are independent of each other.
The caches are those of Fast-dLLM (see `fast_dllm.py`): after one forward of the whole canvas for
each block, "dual" computes the block alone, "prefix" the block and all that follows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from adec.decoding.diffusion.canvas_answer import CanvasAnswer
from adec.decoding.diffusion.unmasking import Proposals, UnmaskingRule
from adec.decoding.settings import setting
from adec.decoding.strategy import Limits, Prompt
from adec.engines.base import ModelHeader
from adec.engines.pair import Engines
from adec.engines.protocols import CanvasEngine
from adec.errors import EngineError, PairError, UsageError
from adec.events.records import Guarantee, Role, Step, Token
from adec.signals import Scores


@dataclass(frozen=True, slots=True)
class CanvasSettings:
    """What every strategy on a canvas has."""

    canvas: int = setting(128, "positions for the answer to begin with; more as needed", least=1)
    block: int = setting(32, "positions that are filled before those to the right of them", least=1)
    cache: Literal["none", "prefix", "dual"] = setting(
        "none", "what is not computed anew within a block: prefix, or dual: all but the block"
    )

    def __post_init__(self) -> None:
        if self.canvas % self.block:
            raise UsageError(
                f"a block of {self.block} does not divide a canvas of {self.canvas}",
                hint=f"give a canvas of {-(-self.canvas // self.block) * self.block}",
            )


def check_canvas(settings: CanvasSettings, models: Mapping[Role, ModelHeader]) -> None:
    """Raise UsageError or PairError where a model cannot hold such a canvas."""
    header = models["large"]
    limit, name = header.info.context_limit, header.info.path.name
    if settings.canvas >= limit:
        raise UsageError(
            f"a canvas of {settings.canvas:,} positions; {name} holds {limit:,}, prompt included"
        )
    if settings.cache != "none" and header.canvas is not None and not header.canvas.reuses:
        raise PairError(
            f"{name} cannot reuse keys and values: llama.cpp keeps none for diffusion models",
            hint="take cache=none, or the model's folder",
        )


class CanvasStrategy:
    """One canvas model and a rule."""

    def __init__(
        self,
        name: str,
        paper: str,
        engine: CanvasEngine,
        rule: UnmaskingRule,
        settings: CanvasSettings,
        guarantee: Guarantee = Guarantee.APPROXIMATE,
        model: Role = "large",
    ) -> None:
        self.name = name
        self.paper = paper
        self.guarantee = guarantee
        self._engine = engine
        self._rule = rule
        self._settings = settings
        self._model = model

    def generate(self, prompt: Prompt, limits: Limits) -> Iterator[Step]:
        """See `Strategy.generate`.

        A step is a forward. Its tokens are those that all positions before them have reached, in
        order; its detail says what was filled where.
        """
        engine, settings, meter = self._engine, self._settings, limits.meter()
        engine.forget()
        answer = CanvasAnswer(
            prompt, limits, mask=engine.mask, context=engine.context,
            length=settings.canvas, block=settings.block,
        )  # fmt: skip
        step, block = 0, -1
        before: dict[int, int] = {}
        while not answer.done:
            meter.start()
            places = answer.open_places()
            whole = settings.cache == "none" or block != answer.first
            block = answer.first
            scores = meter.canvas(
                engine, self._model, answer.canvas, places,
                None if whole else self._refresh(answer),
            )  # fmt: skip
            proposals = Proposals(scores, places, limits.sampler, step, before)
            chosen = self._rule.choose(proposals)
            if not chosen:
                raise EngineError(f"{self.name} filled no position")
            made = {places[i]: self._describe(scores, proposals, i, limits) for i in chosen}
            reached, record = answer.fill(made)
            yield meter.step("fill", reached, detail=record)
            step, before = step + 1, dict(zip(places, proposals.tokens, strict=True))

    def _refresh(self, answer: CanvasAnswer) -> Sequence[int]:
        """The positions to compute anew in a forward that is not a block's first."""
        end = len(answer.canvas)
        if self._settings.cache == "dual":
            end = min(end, answer.first + self._settings.block)
        return range(answer.first, end)

    def _describe(self, scores: Scores, proposals: Proposals, i: int, limits: Limits) -> Token:
        token = proposals.tokens[i]
        if not limits.signals:
            return Token(token, self._model)
        return Token(
            token,
            self._model,
            entropy=scores.entropy(i),
            margin=scores.margin(i),
            probability=scores.probability(i, token),
        )


def canvas_engine(engines: Engines) -> CanvasEngine:
    """The large model as a canvas engine. Raises PairError if it is none."""
    engine = engines["large"]
    if not isinstance(engine, CanvasEngine):
        raise PairError(f"{engine.info.name} is no diffusion model")
    return engine
