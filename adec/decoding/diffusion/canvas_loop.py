"""The loop of every strategy on a canvas: forward, propose, decide which positions stand, repeat.

A rule decides; a cache says which positions are computed anew (`canvas_cache.py`). Both are
independent of each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from msgspec.structs import replace

from adec.decoding.diffusion.canvas_answer import CanvasAnswer
from adec.decoding.diffusion.canvas_cache import fresh_cache
from adec.decoding.diffusion.unmasking import Proposals, UnmaskingRule
from adec.decoding.settings import setting
from adec.decoding.strategy import Limits, Prompt
from adec.engines.base import ModelHeader
from adec.engines.pair import Engines
from adec.engines.protocols import CanvasEngine
from adec.errors import EngineError, PairError, UsageError
from adec.events.records import Guarantee, Role, Step, Token


@dataclass(frozen=True, slots=True)
class CanvasSize:
    """How long a canvas is, and which part of it is filled first."""

    canvas: int = setting(128, "positions for the answer to begin with; more as needed", least=1)
    block: int = setting(32, "positions that are filled before those to the right of them", least=1)

    def __post_init__(self) -> None:
        if self.canvas % self.block:
            raise UsageError(
                f"a block of {self.block} does not divide a canvas of {self.canvas}",
                hint=f"give a canvas of {-(-self.canvas // self.block) * self.block}",
            )


@dataclass(frozen=True, slots=True)
class CanvasSettings(CanvasSize):
    """What every strategy on a canvas has that approximates."""

    cache: Literal["none", "prefix", "dual", "prompt", "delayed", "greedy"] = setting(
        "none",
        "what is not computed anew. prefix: what precedes the block; dual: all but the block; "
        "prompt: the prompt; delayed: also what was filled two forwards ago; greedy: also most "
        "masks",
    )
    refresh: int = setting(
        8, "delayed and greedy: every so many forwards all is computed anew", least=1
    )
    window: int = setting(
        6, "greedy: masks that are computed, beside what was filled last", least=1
    )


def check_size(settings: CanvasSize, models: Mapping[Role, ModelHeader]) -> None:
    """Raise UsageError where the model cannot hold such a canvas."""
    header = models["large"]
    limit, name = header.info.context_limit, header.info.path.name
    if settings.canvas >= limit:
        raise UsageError(
            f"a canvas of {settings.canvas:,} positions; {name} holds {limit:,}, prompt included"
        )


def check_canvas(settings: CanvasSettings, models: Mapping[Role, ModelHeader]) -> None:
    """As `check_size`; raise PairError where it cannot reuse what the settings ask for."""
    check_size(settings, models)
    header = models["large"]
    if settings.cache != "none" and header.canvas is not None and not header.canvas.reuses:
        raise PairError(
            f"{header.info.path.name} cannot reuse keys and values: "
            "llama.cpp keeps none for diffusion models",
            hint="take cache=none, or the model's folder",
        )


def larger_context(engine: CanvasEngine) -> str:
    """Half a sentence where a larger context would hold more, else nothing."""
    can_grow = engine.context < engine.info.context_limit
    return "; a larger --ctx holds more" if can_grow else ""


def open_canvas(
    engine: CanvasEngine, settings: CanvasSize, prompt: Prompt, limits: Limits
) -> CanvasAnswer:
    """The canvas that an answer begins with. One that the context cuts short is remarked on.

    The model sees every mask, so a shorter canvas may change all of the answer, not just its end.
    """
    room = engine.context - len(prompt.ids)
    if room < settings.canvas:
        why = f"the context of {engine.context:,} and a prompt of {len(prompt.ids):,} tokens"
        limits.remark(
            f"the canvas has {room:,} positions instead of {settings.canvas:,}, which may change"
            f" the answer: {why} leave no more{larger_context(engine)}"
        )
    return CanvasAnswer(
        prompt, limits, mask=engine.mask, context=engine.context,
        length=settings.canvas, block=settings.block,
    )  # fmt: skip


class CanvasStrategy:
    """One canvas model and a rule."""

    def __init__(
        self,
        name: str,
        paper: str | None,
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
        answer = open_canvas(engine, settings, prompt, limits)
        cache = fresh_cache(settings.cache, refresh=settings.refresh, window=settings.window)
        step = 0
        before: dict[int, int] = {}
        filled: set[int] = set()
        while not answer.done:
            meter.start()
            places, refresh = cache.plan(answer, answer.open_places(), filled)
            inside = len(places)
            if self._rule.sees_canvas:
                computed = answer.masked() if refresh is None else answer.masked() & {*refresh}
                places = [*places, *sorted(computed - {*places})]
            scores = meter.canvas(engine, self._model, answer.canvas, places, refresh)
            proposals = Proposals(
                scores, places, limits.sampler, step, before, inside=inside, end=limits.end,
                block=range(answer.first, answer.first + settings.block), done=answer.share_filled,
            )  # fmt: skip
            chosen = self._rule.choose(proposals)
            if not chosen:
                raise EngineError(f"{self.name} filled no position")
            made = {places[i]: describe(self._model, proposals, i, limits) for i in chosen}
            reused = 0 if refresh is None else len(answer.canvas) - len(refresh)
            nats = _nats_left(proposals, chosen) if limits.signals else None
            reached, record = answer.fill(made)
            record = replace(record, reused=reused, nats=nats)
            yield meter.step("fill", reached, detail=record)
            step, before, filled = step + 1, proposals.by_place(), set(made)


def _nats_left(proposals: Proposals, chosen: Sequence[int]) -> float:
    """The entropies of the positions in the block at work that are not filled, added up."""
    filled = {*chosen}
    return proposals.entropy_sum([i for i in range(proposals.inside) if i not in filled])


def describe(model: Role, proposals: Proposals, i: int, limits: Limits) -> Token:
    """The proposal at open position i as a token, with its signals if somebody reads them."""
    token = proposals.tokens[i]
    if not limits.signals:
        return Token(token, model)
    return Token(
        token,
        model,
        entropy=proposals.entropy(i),
        margin=proposals.row_margin(i),
        probability=proposals.confidence(i),
    )


def canvas_engine(engines: Engines) -> CanvasEngine:
    """The large model as a canvas engine. Raises PairError if it is none."""
    engine = engines["large"]
    if not isinstance(engine, CanvasEngine):
        raise PairError(f"{engine.info.name} is no diffusion model")
    return engine
