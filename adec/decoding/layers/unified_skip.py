"""Unified Layer Skipping: for a target speed-up, every token leaves out the same layers.

Liu et al. 2024, "Accelerating Inference in Large Language Models with a Unified Layer Skipping
Strategy", arXiv 2404.06954. Of L layers, floor(L / speed-up) run: the lowest, the highest, and the
others at even distances. The prompt is read with all layers. The choice does not depend on the
text, so the cache needs no repair: what left a layer out is never seen there.

What is different here: layers are spread by rounding an even division of 0 to L - 1. The paper's
step, floor(L / (kept - 1)), becomes 1 below a speed-up of about 2 and keeps a block at the bottom.
The paper's models were tuned with the very layers left out; models that were not lose much more.
The first tokens run through all layers, so that a gain can be told.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from adec.decoding.answer import AnswerState, read_prompt
from adec.decoding.layers.self_draft import PLAIN_TOKENS
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids, Limits, Prompt
from adec.engines.pair import Engines
from adec.engines.protocols import LayerEngine
from adec.errors import UsageError
from adec.events.records import Guarantee, Step


def kept_layers(layers: int, speedup: float) -> list[int]:
    """The layers that run, rising: at least the lowest and the highest."""
    count = max(2, int(layers / speedup))
    return sorted({round(i * (layers - 1) / (count - 1)) for i in range(count)})


class UnifiedSkip:
    """Plain decoding in which every token leaves out the same layers."""

    name = "skip"
    paper = "arXiv 2404.06954"
    guarantee = Guarantee.APPROXIMATE

    def __init__(self, engine: LayerEngine, speedup: float) -> None:
        self._engine = engine
        self._kept = kept_layers(engine.info.layers, speedup)

    def generate(self, prompt: Prompt, limits: Limits) -> Iterator[Step]:
        """See `Strategy.generate`."""
        engine, kept = self._engine, len(self._kept)
        answer = AnswerState(prompt, limits, engine.context)
        engine.leave_out(())
        scores = yield from read_prompt(engine, "large", prompt.ids, limits)
        meter = limits.meter()
        source, whole = "large", engine.context
        try:
            while not answer.done:
                token = limits.sampler.pick(scores, 0, len(answer.sequence))
                record = answer.describe(scores, 0, token, source)
                answer.commit([record])
                yield meter.step("write", (record,))
                if answer.done:
                    return
                meter.start()
                if len(answer.sequence) < len(prompt.ids) + PLAIN_TOKENS:
                    scores = meter.forward(engine, "large", "write", [token])
                    continue
                if source == "large":
                    source, whole = f"{kept} layers", engine.length
                    engine.leave_out(set(range(engine.info.layers)) - set(self._kept))
                scores = meter.forward(engine, "large", "write", [token], layers=kept)
        finally:
            engine.leave_out(())
            # a conversation does not go on from what the layers left out never saw
            engine.rewind(min(whole, engine.length))


@dataclass(frozen=True, slots=True)
class SkipSettings:
    """`--set skip.NAME=VALUE`."""

    speedup: float = setting(
        2.0, "layers in the model for each that runs (paper: 2 and 5)", least=1, most=100
    )


def build(engines: Engines, settings: SkipSettings, aids: Aids) -> UnifiedSkip:
    """Layer skipping on the large model. Raises UsageError where it has fewer than three layers."""
    engine = cast(LayerEngine, engines["large"])
    if engine.info.layers < 3:
        raise UsageError(
            f"skip: {engine.info.name} has no layer between its lowest and its highest"
        )
    return UnifiedSkip(engine, settings.speedup)
