"""Early exit: a token is written by the lowest layer that is sure of it; the others pass it by.

The loop of the approximate methods of this family: `sorted_depth.py`, `learned_exits.py`,
`stop_exit.py`. A token:

    1. climb      layers run up to the next depth at which the rule looks
    2. ask        the rule looks at the state there and leaves, climbs on, or gives the answer up
    3. write      norm and head at that depth choose the token
    4. propagate  keys and values of the layers above are projected from the state at the exit

Layers above an exit fill their caches only when a later token runs them, in one batch. The prompt
is read by all layers, and so are the first tokens, so that a gain can be told.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from random import Random
from typing import Literal

from adec.decoding.answer import AnswerState, read_prompt
from adec.decoding.layers.drafting.self_draft import PLAIN_TOKENS
from adec.decoding.meter import Meter
from adec.decoding.strategy import Limits, Prompt
from adec.engines.protocols import LayerEngine
from adec.events.records import DepthRecord, Guarantee, Step
from adec.signals import Scores

Verdict = Literal["leave", "climb", "stop"]
"""stop: the answer ends here, without this token."""


class LeaveRule(ABC):
    """Where a token leaves."""

    sure: float | None = None
    """How sure the latest exit was, for the trace."""

    @abstractmethod
    def start(self, engine: LayerEngine, limits: Limits) -> None:
        """Begin a new answer."""

    @abstractmethod
    def stops(self, position: int) -> Sequence[int]:
        """The depths at which it looks, rising, all below that of the model."""

    @abstractmethod
    def ask(self, engine: LayerEngine, depth: int) -> Verdict:
        """Look at the newest token, whose state at `depth` the engine holds."""


class EarlyExit:
    """The strategy that a rule makes of one model."""

    guarantee = Guarantee.APPROXIMATE

    def __init__(self, name: str, paper: str, engine: LayerEngine, rule: LeaveRule) -> None:
        self.name = name
        self.paper = paper
        self._engine = engine
        self._rule = rule

    def generate(self, prompt: Prompt, limits: Limits) -> Iterator[Step]:
        """See `Strategy.generate`."""
        engine, rule, layers = self._engine, self._rule, self._engine.info.layers
        answer = AnswerState(prompt, limits, engine.context)
        scores = yield from read_prompt(engine, "large", prompt.ids, limits)
        rule.start(engine, limits)
        meter = limits.meter()
        depth, whole = layers, engine.length
        try:
            while not answer.done:
                token = limits.sampler.pick(scores, 0, len(answer.sequence))
                source = "large" if depth == layers else f"layer:{depth}"
                record = answer.describe(scores, 0, token, source)
                answer.commit([record])
                detail = DepthRecord(depth, layers, None if depth == layers else rule.sure)
                yield meter.step("write", (record,), detail=detail)
                if answer.done:
                    return
                meter.start()
                if len(answer.sequence) < len(prompt.ids) + PLAIN_TOKENS:
                    scores = meter.forward(engine, "large", "write", [token])
                    whole = engine.length
                    continue
                depth, stopped = self._climb(meter, token)
                if stopped:
                    words = f"given up at layer {depth} of {layers}: probably going wrong"
                    yield meter.step("write", reason=words, lost=True)
                    return
                scores = meter.leave(engine, "large", depth)
        finally:
            # a conversation does not go on from what the upper layers never saw
            engine.rewind(min(whole, engine.length))

    def _climb(self, meter: Meter, token: int) -> tuple[int, bool]:
        """The depth at which the newest token stays, and whether the answer ends before it."""
        engine, rule = self._engine, self._rule
        fed = [token]
        for depth in rule.stops(engine.length + 1):
            meter.climb(engine, fed, depth)
            fed = []
            verdict = rule.ask(engine, depth)
            if verdict != "climb":
                if verdict == "stop":
                    meter.leave(engine, "large", depth)
                return depth, verdict == "stop"
        meter.climb(engine, fed, engine.info.layers)
        return engine.info.layers, False


class SureEnough(LeaveRule):
    """Leave where the likeliest token of the exit has at least a probability of `threshold`."""

    def __init__(self, depths: Sequence[int], threshold: float) -> None:
        self._depths = tuple(depths)
        self._threshold = threshold

    def start(self, engine: LayerEngine, limits: Limits) -> None:
        """Nothing to begin."""

    def stops(self, position: int) -> Sequence[int]:
        """The exits that it was given."""
        return self._depths

    def ask(self, engine: LayerEngine, depth: int) -> Verdict:
        """Whether the exit is sure; asking costs its head."""
        row: Scores = engine.scores_at(depth)
        self.sure = row.probability(0, row.argmax(0))
        return "leave" if self.sure >= self._threshold else "climb"


class SameDepth(LeaveRule):
    """Every token leaves at one depth: a control, which looks at nothing."""

    def __init__(self, depth: int) -> None:
        self._depth = depth

    def start(self, engine: LayerEngine, limits: Limits) -> None:
        """Nothing to begin."""

    def stops(self, position: int) -> Sequence[int]:
        """The one depth."""
        return (self._depth,)

    def ask(self, engine: LayerEngine, depth: int) -> Verdict:
        """Always leave."""
        return "leave"


class RandomDepth(LeaveRule):
    """Every token leaves at a depth drawn evenly around a mean: a control, which looks at nothing.

    The draw depends on the seed and the position alone.
    """

    def __init__(self, mean: int, layers: int) -> None:
        reach = min(mean - 1, layers - mean)
        self._least, self._most = mean - reach, mean + reach
        self._layers = layers
        self._seed = 0

    def start(self, engine: LayerEngine, limits: Limits) -> None:
        """Draw by the seed of the run."""
        self._seed = limits.sampler.seed

    def stops(self, position: int) -> Sequence[int]:
        """The depth that was drawn for this position, unless that is the whole model."""
        depth = Random(f"depth {self._seed} {position}").randint(self._least, self._most)
        return () if depth == self._layers else (depth,)

    def ask(self, engine: LayerEngine, depth: int) -> Verdict:
        """Always leave."""
        return "leave"


def exit_depths(layers: int, first: int, every: int) -> list[int]:
    """The exits from `first` on, at every so many layers, below the last."""
    return list(range(first, layers, every))
