"""SortedNet: one model holds a smaller one at every depth, to be chosen at decoding.

Valipour et al. 2023, "SortedNet: A Scalable and Generalized Framework for Training Modular Deep
Neural Networks", arXiv 2309.00255, and for decoders "Sorted LLaMA", arXiv 2309.08968. All depths
share one norm and head.

    depth=N       the nested model of N layers answers, prompt and all
    depth=0       instance-aware: each token leaves at the first exit whose likeliest token has at
                  least a probability of `threshold`

As self-speculation with an exact answer, a nested model is `layerskip` with that exit. What is
different here: keys and values above an exit are projected from its state, where the paper runs
the layers later. `control` ends exits without looking, for comparison at equal depth.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast

from adec.decoding.answer import AnswerState, read_prompt
from adec.decoding.layers.early_exit import (
    EarlyExit,
    LeaveRule,
    RandomDepth,
    SameDepth,
    SureEnough,
    exit_depths,
)
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids, Limits, Prompt, Strategy
from adec.engines.base import ModelInfo
from adec.engines.pair import Engines
from adec.engines.protocols import LayerEngine
from adec.errors import UsageError
from adec.events.records import DepthRecord, Guarantee, Step

_PAPER = "arXiv 2309.00255"


class NestedModel:
    """Plain decoding by the lowest `depth` layers alone."""

    name = "sorted"
    paper = _PAPER
    guarantee = Guarantee.APPROXIMATE

    def __init__(self, engine: LayerEngine, depth: int) -> None:
        self._engine = engine
        self._depth = depth

    def generate(self, prompt: Prompt, limits: Limits) -> Iterator[Step]:
        """See `Strategy.generate`."""
        engine, layers = self._engine, self._engine.info.layers
        answer = AnswerState(prompt, limits, engine.context)
        # what the cache holds was read by all layers
        engine.rewind(0)
        engine.leave_out(range(self._depth, layers))
        whole = self._depth == layers
        source, ran = ("large", None) if whole else (f"layer:{self._depth}", self._depth)
        detail = DepthRecord(self._depth, layers)
        try:
            scores = yield from read_prompt(engine, "large", prompt.ids, limits)
            meter = limits.meter()
            while not answer.done:
                token = limits.sampler.pick(scores, 0, len(answer.sequence))
                record = answer.describe(scores, 0, token, source)
                answer.commit([record])
                yield meter.step("write", (record,), detail=detail)
                if not answer.done:
                    meter.start()
                    scores = meter.forward(engine, "large", "write", [token], layers=ran)
        finally:
            engine.leave_out(())
            engine.rewind(0)


@dataclass(frozen=True, slots=True)
class SortedSettings:
    """`--set sorted.NAME=VALUE`."""

    depth: int = setting(
        0, "layers of the nested model that answers; 0: as many as each token needs", least=0
    )
    threshold: float = setting(
        0.9, "probability of the likeliest token at which a token leaves", least=0, most=1
    )
    first: int = setting(0, "lowest exit; 0: a quarter of the layers", least=0)
    every: int = setting(2, "layers from one exit to the next", least=1)
    control: Literal["none", "fixed", "random"] = setting(
        "none",
        "for comparison: leave at `depth` (0: half of the layers), or at random depths around it,"
        " without a look",
    )


def check(settings: SortedSettings, info: ModelInfo) -> None:
    """Raise UsageError for a depth that the model does not have."""
    check_depth("sorted.depth", settings.depth, info)
    check_depth("sorted.first", settings.first, info)


def build(engines: Engines, settings: SortedSettings, aids: Aids) -> Strategy:
    """A nested model, or exits by confidence. Raises UsageError for a depth that is not there."""
    engine = cast(LayerEngine, engines["large"])
    check(settings, engine.info)
    layers, depth = engine.info.layers, settings.depth
    if settings.control == "none" and depth:
        return NestedModel(engine, depth)
    rule = control_rule(settings.control, depth, engine)
    if rule is None:
        first = settings.first or max(1, layers // 4)
        rule = SureEnough(exit_depths(layers, first, settings.every), settings.threshold)
    return EarlyExit("sorted", _PAPER, engine, rule)


def check_depth(name: str, depth: int, info: ModelInfo) -> None:
    """Raise UsageError where the model does not have it."""
    if depth > info.layers:
        raise UsageError(
            f"{name}={depth}: {info.name} has {info.layers} layers",
            hint=f"choose 1 to {info.layers}",
        )


def control_rule(control: str, depth: int, engine: LayerEngine) -> LeaveRule | None:
    """The rule of a control at a mean depth (0: half of the layers); None where none is wanted."""
    if control == "none":
        return None
    layers = engine.info.layers
    depth = depth or max(1, layers // 2)
    if control == "random" or depth == layers:
        return RandomDepth(depth, layers)
    return SameDepth(depth)
