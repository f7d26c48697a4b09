"""Plain decoding in which all tokens of an answer leave out the same layers.

The loop of `unified_skip.py` and `prompt_routers.py`. The prompt is read with all layers, and so
are the first tokens, so that a gain can be told. The choice does not depend on the token, so the
cache needs no repair: what left a layer out is never seen there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Sequence

from adec.decoding.answer import AnswerState, read_prompt
from adec.decoding.layers.drafting.self_draft import PLAIN_TOKENS
from adec.decoding.strategy import Limits, Prompt
from adec.engines.protocols import LayerEngine
from adec.events.records import Guarantee, Step
from adec.signals import Scores


class SameLayers(ABC):
    """The strategy that a choice of layers makes of one model."""

    guarantee = Guarantee.APPROXIMATE

    def __init__(self, name: str, paper: str, engine: LayerEngine) -> None:
        self.name = name
        self.paper = paper
        self._engine = engine

    @abstractmethod
    def choose(self, prompt: Sequence[int], limits: Limits) -> Sequence[int]:
        """The layers that run for the answer, rising; the prompt was read."""

    def read(self, ids: Sequence[int], limits: Limits) -> Generator[Step, None, Scores]:
        """Read the prompt with all layers; the scores of its last token."""
        return (yield from read_prompt(self._engine, "large", ids, limits))

    def generate(self, prompt: Prompt, limits: Limits) -> Iterator[Step]:
        """See `Strategy.generate`."""
        engine, layers = self._engine, self._engine.info.layers
        answer = AnswerState(prompt, limits, engine.context)
        engine.leave_out(())
        scores = yield from self.read(prompt.ids, limits)
        kept = self.choose(prompt.ids, limits)
        left_out = [layer for layer in range(layers) if layer not in kept]
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
                if not left_out or len(answer.sequence) < len(prompt.ids) + PLAIN_TOKENS:
                    scores = meter.forward(engine, "large", "write", [token])
                    continue
                if source == "large":
                    source, whole = f"{len(kept)} layers", engine.length
                    engine.leave_out(left_out)
                scores = meter.forward(engine, "large", "write", [token], layers=len(kept))
        finally:
            engine.leave_out(())
            # a conversation does not go on from what the layers left out never saw
            engine.rewind(min(whole, engine.length))
