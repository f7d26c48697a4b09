"""Drafting by the clock: which drafter, which shape and how many nodes, from measured milliseconds and counted acceptance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from adec.decoding.meter import Meter
from adec.decoding.pair.arm import LONGEST_REACH, Arm, foreseen_rate
from adec.decoding.pair.costs import CostCurve, Timings
from adec.decoding.pair.drafters.drafter import Drafter, Outcome, Proposal, empty
from adec.decoding.pair.drafters.recycling import Recycling
from adec.decoding.pair.drafters.small_model import SmallModel
from adec.decoding.pair.growth import FixedGrowth, Growth, Overheard, Room, TimedGrowth
from adec.decoding.pair.planner import observe, overhear
from adec.decoding.pair.throttle import State, Throttle
from adec.decoding.strategy import Limits
from adec.events.records import Step

PLAIN_FIRST = 2
"""Plain rounds before anything is drafted when no curve is given: what drafting must beat is then a measurement."""
PLAIN_SOON, PLAIN_AGAIN = 6, 32
"""Rounds after which some are plain, so that what drafting must beat is a measurement of this run: with a given curve the
first time, and later."""
SHOWS = 0.02
"""Share of a plain round that the strategy's own work may take before drafters that have nothing to say are no longer asked."""
PROBE_NODES = 3
"""Nodes of a probe: enough to tell a text that can be foreseen, cheap where it cannot."""
LONGEST = LONGEST_REACH
"""Nodes of a proposal at most; past that a round's own time shows."""
OVERHEARD = 4
"""Nodes that a drafter without a model names in any case, so that one learns how far to trust it."""
EARLY = 16
"""Nodes that are verified as the prompt is read, at most: the first token waits for them."""


class TimedPlanner:
    """Picks by expected tokens per millisecond among the drafters that pay, or drafts nothing.

    A drafter without a model is asked what it has, which costs microseconds, and its tree is valued. The small model is valued by
    its acceptance so far before it runs. The best beats plain decoding or the round is plain.
    """

    def __init__(
        self,
        drafters: Sequence[Drafter],
        *,
        in_order: bool = False,
        longest: int = LONGEST,
        chain: bool = False,
        early: bool = False,
    ) -> None:
        """`in_order`: the verifier's. `chain`: no branches. `early`: the small model may draft before the prompt is read to its end."""
        self.arms = [
            Arm(drafter, throttle=Throttle(free=not isinstance(drafter, SmallModel)))
            for drafter in drafters
        ]
        self.timings = Timings()
        self.reason: str | None = None
        self.is_measured = False
        self._in_order = in_order
        self._longest = longest
        self._chain = chain
        self._small = next(
            ((arm, arm.drafter) for arm in self.arms if isinstance(arm.drafter, SmallModel)), None
        )
        self.early = early and self._small is not None
        self._used: Arm | None = None
        self._shut: frozenset[str] = frozenset()
        self._plain_own_ms = 0.0
        self._since = 0
        self._size = 0
        self._states: list[State] = []

    def measured(self, curve: CostCurve, small: CostCurve | None = None) -> None:
        """The large model's curve became known, and perhaps that of the small one."""
        self.timings = Timings(curve)
        self.is_measured = True
        self._since = PLAIN_AGAIN - PLAIN_SOON
        if small is not None and self._small is not None:
            self._small[1].timings = Timings(small)

    @property
    def plain_ms(self) -> float | None:
        return self.timings.plain_ms

    def start(self, prompt: Sequence[int], limits: Limits) -> Iterator[Step]:
        self._used = None
        for arm in self.arms:
            arm.begin()
            yield from arm.drafter.start(prompt, limits)

    def ahead(self, sequence: Sequence[int], room: Room, unread: int, meter: Meter) -> Proposal:
        self._used = None
        curve = self._known()
        if self._small is None or curve is None or min(room.nodes, room.depth) < 1:
            return empty()
        arm, small = self._small
        room = replace(room, leaves=1)
        growth = TimedGrowth(
            curve,
            unread=unread,
            own_ms=0.0,
            room=room,
            rates=arm.rates,
            most=min(EARLY, self._longest),
            worth_ms=self._worth_ms(curve, room),
        )
        return self._drafted(arm, small, sequence, growth, meter)

    def propose(self, sequence: Sequence[int], room: Room, unread: int, meter: Meter) -> Proposal:
        self._used = None
        for arm in self.arms:
            arm.throttle.convince(arm.drafter.streak)
        if all(arm.throttle.state == "closed" for arm in self.arms):
            return empty()
        curve = self._known()
        if curve is None or self._since >= PLAIN_AGAIN or min(room.nodes, room.depth) < 1:
            return empty()
        if self._chain:
            room = replace(room, leaves=1)
        best, best_rate, found = None, 1 / self._plain_ms(curve, unread), empty()
        for arm in self.arms:
            state = arm.throttle.state
            if state == "closed":
                continue
            if isinstance(arm.drafter, SmallModel):
                if arm.pause and state == "open":
                    arm.pause -= 1
                    continue
                behind = arm.drafter.unread(sequence)
                rate = foreseen_rate(
                    arm, arm.drafter, curve, behind=behind, unread=unread, room=room
                )
                proposal = empty()
            else:
                proposal, rate = self._offer(arm, sequence, curve, unread, room, meter)
                if len(proposal) == 0:
                    continue
            if state == "probe" or rate > best_rate:
                best, best_rate, found = arm, rate, proposal
            if state == "probe":
                break
        if best is None:
            return empty()
        if isinstance(best.drafter, SmallModel):
            growth = self._growth(best, curve, unread, room)
            return self._drafted(best, best.drafter, sequence, growth, meter)
        self._used = best
        return found

    def filled(self, size: int) -> int:
        return self.timings.filled(size)

    def learn(self, outcome: Outcome) -> None:
        if self._used is not None:
            observe(self._used.rates, outcome, self._in_order)
            deepest = 1 + max(outcome.proposal.tree.depths())
            self._used.reached(len(outcome.verdict.path), deepest)
        for arm in self.arms:
            if arm.said is not None and arm is not self._used:
                overhear(arm.rates, arm.said, outcome.sequence[outcome.base :])
            arm.said = None
            # a table learns row by row, at a cost that shows where a forward is short; while it rests it need not
            if arm.throttle.state != "closed" or not isinstance(arm.drafter, Recycling):
                arm.drafter.learn(outcome)

    def account(self, step: Step) -> None:
        if any(forward.purpose == "prompt" for forward in step.forwards):
            # what a draft adds to the reading of a prompt is neither a forward of its size nor a round
            return
        self._since += 1
        for forward in step.forwards:
            if forward.model == "large":
                self._time(forward.tokens, forward.ms)
        if self._used is None:
            self._plain_own_ms += 0.2 * (step.own_ms - self._plain_own_ms)
        shows = self._plain_own_ms > SHOWS * (self.plain_ms or 0.0)
        for arm in self.arms:
            if arm is self._used:
                self._judge(arm, step)
                continue
            before = arm.throttle.state
            arm.throttle.tick()
            if shows:
                arm.throttle.rest()
            if arm.throttle.state == "probe" != before and isinstance(arm.drafter, SmallModel):
                # times of a slow moment must not shut it out for ever: nothing renews them while it rests
                arm.drafter.timings.forget()
        states = [arm.throttle.state for arm in self.arms]
        if states != self._states or self.reason is not None:
            self._states = states
            self._say()

    def _time(self, tokens: int, ms: float) -> None:
        """Learn what a forward of the large model took."""
        # the first single token after a batch is slow, as the backend sets up for another size
        if tokens > 1 or self._size == 1:
            self.timings.record(tokens, ms)
            if tokens == 1:
                self._since = 0
        self._size = tokens

    def _judge(self, arm: Arm, step: Step) -> None:
        """Learn whether the round of this arm paid."""
        curve = self.timings.curve
        if curve is None:
            return
        arm.own_ms += 0.2 * (step.own_ms - arm.own_ms)
        ms, once = _round_ms(step, arm.drafter)
        if arm.throttle.record(len(step.tokens), ms, self._plain_ms(curve, 1), once):
            arm.rates.soften()

    def _plain_ms(self, curve: CostCurve, unread: int) -> float:
        """What a plain round takes, all in."""
        return max(curve.ms(unread) + self._plain_own_ms, 1e-6)

    def _growth(self, arm: Arm, curve: CostCurve, unread: int, room: Room) -> Growth:
        if arm.throttle.state == "probe":
            return FixedGrowth(PROBE_NODES, room, arm.rates)
        room = replace(room, depth=min(room.depth, 2 + int(2 * arm.reach)))
        return TimedGrowth(
            curve,
            unread=unread,
            own_ms=arm.own_ms,
            room=room,
            rates=arm.rates,
            most=self._longest,
        )

    def _offer(
        self,
        arm: Arm,
        sequence: Sequence[int],
        curve: CostCurve,
        unread: int,
        room: Room,
        meter: Meter,
    ) -> tuple[Proposal, float]:
        """What a drafter without a model has, as far as it is worth verifying, and its tokens per millisecond."""
        growth = self._growth(arm, curve, unread, room)
        if not isinstance(growth, TimedGrowth):
            return arm.drafter.propose(sequence, growth, meter), 0.0
        arm.said = arm.drafter.propose(sequence, Overheard(growth, OVERHEARD), meter)
        return arm.said.first(growth.best()), growth.best_rate

    def _drafted(
        self, arm: Arm, small: SmallModel, sequence: Sequence[int], growth: Growth, meter: Meter
    ) -> Proposal:
        found = small.propose(sequence, growth, meter)
        arm.asked(found)
        self._used = arm if len(found) else None
        return found

    def _known(self) -> CostCurve | None:
        """The curve, once drafts can be weighed against plain decoding."""
        known = self.is_measured or self.timings.count(1) >= PLAIN_FIRST
        return self.timings.curve if known else None

    def _worth_ms(self, curve: CostCurve, room: Room) -> float:
        """What a token takes once the prompt is read."""
        assert self._small is not None
        arm, small = self._small
        rate = foreseen_rate(arm, small, curve, behind=1, unread=1, room=room)
        return min(1 / rate, self._plain_ms(curve, 1))

    def _say(self) -> None:
        """Put into words which drafters have been given up or taken up."""
        shut = frozenset(arm.drafter.name for arm in self.arms if arm.throttle.state == "closed")
        self.reason = None
        for arm in self.arms:
            name = arm.drafter.name
            if name in shut and name not in self._shut:
                self.reason = f"{name} drafts pause: {arm.throttle.speed or 0:.2f} of plain speed"
            elif name in self._shut and arm.throttle.state == "open":
                self.reason = f"{name} drafts again"
        self._shut = shut | frozenset(
            arm.drafter.name
            for arm in self.arms
            if arm.throttle.state == "probe" and arm.drafter.name in self._shut
        )


def _round_ms(step: Step, drafter: Drafter) -> tuple[float, float]:
    """What the round took, and besides what a small model took to catch up after a pause."""
    ms, once = step.ms() + step.own_ms, 0.0
    if isinstance(drafter, SmallModel):
        for forward in step.forwards:
            if forward.model == "small" and forward.purpose == "catch_up":
                once += max(0.0, forward.ms - drafter.draft_ms())
    return ms - once, once
