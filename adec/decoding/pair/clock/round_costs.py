"""What a round costs: the large model's forward times, and what a plain round takes all in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil

from adec.decoding.answer import BLOCK
from adec.decoding.pair.clock.cost_curve import CostCurve
from adec.decoding.pair.clock.kept_curve import KeptTimes
from adec.decoding.pair.clock.trial_sizes import TrialSizes
from adec.engines.base import Engine
from adec.events.records import Step

SURE = 1.1
"""Speed, as a multiple of plain's, that an offer must promise: picking the best of several
estimates biases it upwards."""
PLAIN_FIRST = 2
"""Plain rounds before anything is drafted when no curve is known, to measure what drafts must
beat."""
PLAIN_SOON, PLAIN_AGAIN = 6, 32
"""Run a plain round after so many rounds, to keep measuring the speed that drafting must beat: the
first number if a curve was known, then the second."""
FINDING_OUT = 0.01
"""Share of a run's time that may be lost on forwards made only to measure their cost. One of them
may overshoot it."""
GRACE = 3.0
"""Plain rounds that may be lost besides: a size is tried once, so that few trials are ever made."""
STAKE = 1.0
"""Plain rounds that a trial of an unknown size may be expected to lose, at the upper bound of its
cost."""
STALLED, STALLED_MS = 10.0, 100.0
"""A round whose forward took more than STALLED times what it should, or whose own time is more than
STALLED plain rounds and STALLED_MS, stood still in between: its process was stopped, say."""
TAIL = (2 * BLOCK, BLOCK)
"""Sizes of forwards that a part of a prompt may be read in, to learn what they cost: whole blocks,
so that what is left of the prompt ends where it would have ended without them."""
READING = 0.03
"""Share of the time to read a prompt that reading its end in such forwards may add."""


class RoundCosts:
    """Learns from the forwards that a run makes anyway; never measures for its own sake.

    It begins with a curve that was measured before: one that is given, or the one kept from earlier
    runs on this machine.
    """

    def __init__(
        self, large: Engine, curve: CostCurve | None = None, *, keeps: bool = True
    ) -> None:
        """`keeps`: keep what is learnt for later runs, and begin with what earlier ones kept."""
        self.own_ms = 0.0
        """Running mean of the strategy's own time in plain rounds."""
        self.large = large
        self._layers = max(1, large.info.layers)
        self.times = KeptTimes(large, curve, keeps=keeps)
        """Forwards of the large model."""
        self._last_size = 0
        self._since_plain = PLAIN_AGAIN - PLAIN_SOON if self.times.is_measured else 0
        self._run_ms = 0.0
        self.new_answer()
        self._lost_ms = 0.0

    def new_answer(self) -> None:
        """Begin to count the rounds of another answer."""
        self.answer_ms = 0.0
        """What the rounds of this answer took."""
        self._answer_tokens = 0

    @property
    def pace_ms(self) -> float:
        """What a token of this answer has taken; infinity before the first round."""
        return self.answer_ms / self._answer_tokens if self._answer_tokens else float("inf")

    @property
    def run_ms(self) -> float:
        """What this run has taken so far, over all answers."""
        return self._run_ms

    @property
    def curve(self) -> CostCurve | None:
        """The large model's curve, once drafts can be weighed against plain decoding."""
        known = self.times.is_measured or self.times.count(1) >= PLAIN_FIRST
        return self.times.curve if known else None

    @property
    def may_explore(self) -> bool:
        """Whether a forward of an unknown size may be tried to find out what it costs."""
        times = self.times
        if not times.is_sparse:
            return False
        return self._lost_ms <= GRACE * (times.plain_ms or 0.0) + FINDING_OUT * self._run_ms

    @property
    def plain_is_due(self) -> bool:
        """Whether to measure a plain round now."""
        return self._since_plain >= PLAIN_AGAIN

    def plain_round_ms(self, curve: CostCurve, unread: int) -> float:
        """What a plain round takes that feeds `unread` tokens."""
        return max(curve.ms(unread) + self.own_ms, 1e-6)

    def trial_sizes(self) -> TrialSizes | None:
        """What forwards of unknown sizes count for in this round; None where all are known."""
        hopeful, cautious = self.times.hopeful, self.times.curve
        if hopeful is None or cautious is None or not self.times.is_sparse:
            return None
        plain_ms = self.plain_round_ms(hopeful, 1)
        return TrialSizes(
            hopeful, cautious, plain_ms=plain_ms, stake=STAKE if self.may_explore else 0.0
        )

    @property
    def next_size(self) -> int:
        """The largest forward that a drafter explores which works for every draft.

        That is twice the largest size reached without a gap of more than a factor of two.
        """
        known = 2
        for size in sorted(self.times.points):
            if size > 2 * known:
                break
            known = max(known, size)
        return 2 * known

    def prompt_sizes(self, count: int) -> tuple[int, ...]:
        """Sizes of the last forwards over a prompt of `count` tokens, from which to learn.

        Small forwards read a prompt more slowly. Of the loss, only an upper bound is known.
        """
        hopeful, cautious = self.times.hopeful, self.times.curve
        if hopeful is None or cautious is None or not self.times.is_sparse:
            return ()
        allowed, tail = READING * hopeful.ms(count), []
        for size in TAIL:
            more = cautious.ms(size) - hopeful.ms(count) * size / count
            if cautious.ms(size) > hopeful.ms(size) and more <= allowed and 2 * size <= count:
                allowed -= max(0.0, more)
                count -= size
                tail.append(size)
        return tuple(tail)

    def record_prompt(self, step: Step) -> None:
        """Learn from a part of the prompt that the large model read."""
        self._run_ms += step.ms()
        for forward in step.forwards:
            self.times.record(forward.tokens, forward.ms)

    def is_stalled(self, step: Step) -> bool:
        """Whether a round stood still, so that its time says nothing about what was done in it."""
        curve = self.times.curve
        if curve is None:
            return False
        if step.own_ms > max(STALLED_MS, STALLED * curve.ms(1)):
            return True
        return any(ms > STALLED * curve.ms(size) > 0 for size, ms in self._large_forwards(step))

    def record(self, step: Step, *, plain: bool, explored: bool = False) -> bool:
        """Learn from a round. Returns whether it went on without standing still.

        `plain`: nothing was drafted in it. `explored`: it was drafted to find out what it costs.
        """
        self._since_plain += 1
        if self.is_stalled(step):
            # where it is the machine that has become slow, the curve follows
            self._learn_times(step)
            return False
        ms = step.ms() + step.own_ms
        self._run_ms += ms
        self.answer_ms += ms
        self._answer_tokens += len(step.tokens)
        if explored:
            lost_ms = ms - len(step.tokens) * (self.times.plain_ms or 0.0)
            self._lost_ms = max(0.0, self._lost_ms + lost_ms)
        self._learn_times(step)
        if plain:
            self.own_ms += 0.2 * (step.own_ms - self.own_ms)
        return True

    def record_rest(self, steps: Sequence[Step]) -> None:
        """Learn from plain rounds in a row: what they took, and the median of their forwards.

        One by one they would cost a small model more than drafts can win.
        """
        single_ms = self.times.plain_ms or 0.0
        own_most = max(STALLED_MS, STALLED * single_ms)
        steady = [
            (step.ms(), step.own_ms, step)
            for step in steps
            if step.own_ms <= own_most and not step.ms() > STALLED * single_ms > 0
        ]
        self._since_plain += len(steps)
        if not steady:
            # where it is the machine that has become slow, the curve follows
            self._learn_times(steps[-1])
            return
        spent_ms = sum(ms + own_ms for ms, own_ms, _ in steady)
        self._run_ms += spent_ms
        self.answer_ms += spent_ms
        self._answer_tokens += sum(len(step.tokens) for _, _, step in steady)
        steady.sort(key=lambda one: one[0])
        _, own_ms, step = steady[len(steady) // 2]
        self._learn_times(step)
        self.own_ms += (1 - 0.8 ** len(steady)) * (own_ms - self.own_ms)

    def _learn_times(self, step: Step) -> None:
        for size, ms in self._large_forwards(step):
            last = self._last_size
            # the first single token after a batch is slow, as the backend sets up for another size
            if size > 1 or last == 1:
                self.times.record(size, ms)
                if size == 1:
                    self._since_plain = 0
            self._last_size = size

    def _large_forwards(self, step: Step) -> Iterator[tuple[int, float]]:
        """Tokens and milliseconds of the large model's forwards.

        Rows that foresee count with the tokens that they ran beside, by the layers that they ran.
        """
        rows, rows_ms = 0.0, 0.0
        for forward in step.forwards:
            if forward.model != "large" or forward.purpose == "rewind":
                continue
            if forward.purpose == "draft":
                # noted before the forward that they ran in
                layers = forward.layers or self._layers
                rows += forward.tokens * layers / self._layers
                rows_ms += forward.ms
                continue
            yield forward.tokens + ceil(rows - 1e-9), forward.ms + rows_ms
            rows = rows_ms = 0.0

    def keep(self) -> None:
        """Keep what was learnt for later runs: see `KeptTimes.keep`."""
        self.times.keep()
