"""The pair's small model as a drafter: a chain or a tree of its likeliest tokens."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from adec.decoding.answer import read_prompt_but_last, unread_of_prompt
from adec.decoding.meter import Meter
from adec.decoding.pair.clock.cost_curve import CostCurve, LearnedCurve
from adec.decoding.pair.drafters.drafter import Drafter, Outcome, Proposal, empty
from adec.decoding.pair.drafters.draws import law_of
from adec.decoding.pair.drafters.growth import Growth
from adec.decoding.pair.drafters.shapes import Grown, best_first
from adec.decoding.strategy import Limits
from adec.engines.base import Engine
from adec.events.records import Purpose, Step
from adec.sampling import draw, uniform
from adec.signals import Row, Scores, Signals, compared, likeliest
from adec.tree import TokenTree

SHARE = 0.1
"""Cost of the small model's forwards against the large one's, where not even their files tell."""
SIBLINGS = 4
"""Tokens considered at each node: a fifth is committed less than one time in fifty when greedy."""


class StopRule(ABC):
    """Ends a draft where a value of the small model's distribution falls below a threshold.

    It never looks at a token drawn from that distribution: a rule that dropped a drawn token
    because of its own probability would change the law of what is drawn in its place.
    """

    name: str
    """The value, in words."""

    def __init__(self, threshold: float) -> None:
        self._first = threshold
        self.start()

    def start(self) -> None:
        """Begin a new answer."""
        self.threshold = self._first
        self.signal: tuple[float, float] | None = None
        """The last value looked at, and the threshold that it was held against."""
        self.reason: str | None = None
        """Why the last draft was stopped; None if it was not."""

    @abstractmethod
    def value(self, signals: Signals, row: int) -> float:
        """The value to hold against the threshold."""

    def stops(self, signals: Signals, row: int, depth: int) -> bool:
        """Whether to leave the token of this row, at `depth` of the draft, to the large model."""
        value = self.value(signals, row)
        self.signal = value, self.threshold
        if value < self.threshold:
            self.reason = f"{self.name} {compared(value, '<', self.threshold)}"
        elif depth == 0:
            self.reason = None
        return value < self.threshold

    def learn(self, outcome: Outcome) -> None:  # noqa: B027 - most rules keep their threshold
        """Learn from what became of a draft."""


@dataclass(slots=True)
class Drafting:
    """One proposal in the making."""

    sequence: Sequence[int]
    """What is committed."""
    growth: Growth
    meter: Meter
    rows: dict[int, tuple[Scores, int]] = field(default_factory=dict)
    """See `Proposal.rows`."""


class SmallModel(Drafter):
    """Drafts by an engine of its own, which moves along the tree by rewinding and reading on.

    At a temperature, the first child of a node is drawn with the very number that the target's draw
    at that position will use: the closer the two models' laws, the likelier both draws agree.
    """

    name = "small"
    runs_a_model = True

    def __init__(
        self, engine: Engine, curve: CostCurve | None = None, *, stop: StopRule | None = None
    ) -> None:
        """`curve`: its forward times, if they are known beforehand."""
        self.engine = engine
        self.times = LearnedCurve(curve)
        self._stop = stop
        self._assumed: CostCurve | None = None
        self._slowness = 1.0
        self._path: list[int] = []  # draft tokens in the cache, behind the whole sequence

    def start(self, prompt: Sequence[int], limits: Limits) -> Iterator[Step]:
        self.limits = limits
        self._path = []
        if self._stop is not None:
            self._stop.start()
        if len(prompt) > self.engine.context:
            return  # nothing can be drafted behind it, see `propose`
        for step in read_prompt_but_last(self.engine, "small", prompt, limits):
            for forward in step.forwards:
                self.times.record(forward.tokens, forward.ms)
            yield step

    def unread(self, sequence: Sequence[int]) -> int:
        return len(sequence) - self.engine.length

    def unread_of_prompt(self, prompt: Sequence[int], limits: Limits) -> int:
        return unread_of_prompt(self.engine, prompt, limits)

    def draft_ms(self, count: int = 1) -> float:
        curve = self.times.curve or self._assumed
        slowness = 1.0 if self.times.is_fresh else self._slowness
        return 0.0 if curve is None else slowness * curve.ms(count)

    def assume(self, large: Engine, curve: CostCurve, slowness: float) -> None:
        # what slows the large model down slows this one, too; an assumed curve is scaled already
        self._slowness = 1.0 if self.times.curve is None else slowness
        if self.times.curve is None:
            ours, theirs = self.engine.info.bytes, large.info.bytes
            self._assumed = curve.scaled(ours / theirs if ours and theirs else SHARE)

    def forget_times(self) -> None:
        self.times.forget()

    def propose(self, sequence: Sequence[int], growth: Growth, meter: Meter) -> Proposal:
        if len(sequence) > self.engine.context:
            return empty()
        self._path = []
        draft = Drafting(sequence, growth, meter)
        grown = self.grow(draft)
        proposal = Proposal(
            grown.tree, [self.name] * len(grown.tree), grown.chances, draft.rows, grown.laws
        )
        if self._stop is not None:
            proposal.stop, proposal.signal = self._stop.reason, self._stop.signal
        return proposal

    def grow(self, draft: Drafting) -> Grown:
        """The tree: here of the likeliest tokens, best first."""
        return best_first(
            draft.growth,
            lambda tree, node: self._successors(draft, tree, node),
            self.limits.end,
            lambda tree, node: self.cost(draft, tree, node),
        )

    def learn(self, outcome: Outcome) -> None:
        self.teach_stop(outcome)
        self.keep_standing(outcome)
        self._path = []
        if self.engine.length >= len(outcome.sequence):
            # the newest token stays unread: the next draft's forward needs one to feed
            outcome.meter.rewind(self.engine, "small", len(outcome.sequence) - 1)

    def teach_stop(self, outcome: Outcome) -> None:
        """Let the rule that ends drafts learn from what became of one."""
        if outcome.proposal.tree.tokens and self._stop is not None:
            self._stop.learn(outcome)

    def keep_standing(self, outcome: Outcome) -> None:
        """Take drafts that were not committed out of the cache."""
        if self.engine.length > outcome.base:
            standing = _common(self._path, outcome.sequence[outcome.base :])
            length = min(self.engine.length, outcome.base + standing)
            outcome.meter.rewind(self.engine, "small", length)

    def _successors(self, draft: Drafting, tree: TokenTree, node: int) -> list[tuple[int, float]]:
        path = tree.tokens_to(node)
        scores = self.row_after(draft, path)
        if scores is None:
            return []
        draft.rows[node] = scores, 0
        if self._stop is not None and self._stop.stops(scores, 0, len(path)):
            return []
        count = 1 if draft.growth.room.leaves == 1 else SIBLINGS
        if self.limits.sampler.greedy:
            if count > 1:
                return scores.top(0, count)
            ids = [scores.argmax(0)]
        else:
            row = scores.row(0)
            first = self._coupled(row, len(draft.sequence) + len(path))
            ids = [first]
            if count > 1:
                ids += [t for t in likeliest(row, count).tolist() if t != first][: count - 1]
        return [(token, scores.probability(0, token)) for token in ids]

    def _coupled(self, row: Row, position: int) -> int:
        """The draw of `Sampler.pick`, but in float32: a draft need not be drawn exactly."""
        sampler = self.limits.sampler
        number = uniform(sampler.seed, position)
        if sampler.top_k or sampler.top_p < 1 or sampler.min_p:
            law = law_of(row, sampler)
            return int(law.ids[draw(law.probabilities, number)])
        return draw(np.exp((row - row.max()) / np.float32(sampler.temperature)), number)

    def row_after(self, draft: Drafting, path: list[int]) -> Scores | None:
        """The row after the sequence and `path`; None when the context is full."""
        engine, sequence = self.engine, draft.sequence
        base = len(sequence)
        if base + len(path) > engine.context:
            return None
        keep = base + len(path) - self._missing(base, path)
        if keep < engine.length:
            draft.meter.rewind(engine, "small", keep)
        fed = [*sequence[engine.length :], *path] if keep < base else path[keep - base :]
        purpose: Purpose = "catch_up" if base - keep > 1 else "draft"
        scores = draft.meter.forward(engine, "small", purpose, fed)
        self.record_time(draft, len(fed))
        self._path = list(path)
        return scores

    def cost(self, draft: Drafting, tree: TokenTree, node: int) -> float:
        """Expected milliseconds of the forward that gives the row after a node."""
        return self.draft_ms(self._missing(len(draft.sequence), tree.tokens_to(node)))

    def record_time(self, draft: Drafting, count: int) -> None:
        """Learn from the last forward, which fed `count` tokens."""
        ms = draft.meter.forwards[-1].ms
        self.times.record(count, ms)
        draft.growth.spend(ms)

    def _missing(self, base: int, path: Sequence[int]) -> int:
        """Tokens to feed for the row after `path`, behind `base` committed ones; at least one."""
        length = self.engine.length
        if length < base or not path:
            return base + len(path) - min(length, base - 1)
        return len(path) - min(_common(self._path, path), len(path) - 1)


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """Length of the common prefix."""
    for i, (a, b) in enumerate(zip(first, second, strict=False)):
        if a != b:
            return i
    return min(len(first), len(second))
