"""Drafting by the clock: which drafter, which shape and how many nodes, from measured milliseconds and counted acceptance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from adec.decoding.meter import Meter
from adec.decoding.pair.costs import CostCurve, Timings
from adec.decoding.pair.drafters.drafter import Drafter, Outcome, Proposal, empty
from adec.decoding.pair.drafters.recycling import Recycling
from adec.decoding.pair.drafters.small_model import SmallModel
from adec.decoding.pair.growth import FixedGrowth, Growth, Room, TimedGrowth
from adec.decoding.pair.planner import observe
from adec.decoding.pair.rates import Rates, expected_tokens
from adec.decoding.pair.throttle import State, Throttle
from adec.decoding.strategy import Limits
from adec.events import Step

PLAIN_FIRST = 2
"""Plain rounds before anything is drafted when no curve is given: what drafting must beat is then a measurement."""
PLAIN_SOON, PLAIN_AGAIN = 6, 32
"""Rounds after which some are plain, so that what drafting must beat is a measurement of this run: with a given curve the
first time, and later."""
SHOWS = 0.02
"""Share of a plain round that the strategy's own work may take before drafters that have nothing to say are no longer asked."""
PROBE_NODES = 3
"""Nodes of a probe: enough to tell a text that can be foreseen, cheap where it cannot."""
LONGEST = 64
"""Nodes of a proposal at most; past that a round's own time shows."""
FORESEEN = 16
"""Depths that a prediction of the small model's worth looks at."""
FIRST_REACH = 6
"""Depth that a first draft is taken to reach; how sure its drafter is of each node ends most drafts before."""
SHRINK = 1 / 3
"""What is left of an arm's reach after a round in which nothing stood; it grows at once (exllamav3: up fast, down slow)."""


@dataclass(slots=True)
class Arm:
    """A drafter with what is known of it."""

    drafter: Drafter
    rates: Rates = field(default_factory=Rates)
    throttle: Throttle = field(default_factory=Throttle)
    own_ms: float = 0.0
    """Running mean of the strategy's own time in its rounds."""
    reach: float = FIRST_REACH
    """Depth that was accepted lately; drafts go to twice that and two more. Counted acceptance forgets too slowly to keep
    a text that stops being foreseeable from costing several very long drafts."""

    def reached(self, accepted: int, deepest: int) -> None:
        """A draft of `deepest` nodes in depth was accepted down to `accepted`."""
        if accepted == deepest:
            # the end of the draft censors how far it would have gone, and a draft may be short for its cost alone
            self.reach = min(LONGEST, max(accepted + 1, 2 * self.reach))
        else:
            self.reach = max(accepted, SHRINK * self.reach)


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
    ) -> None:
        """`in_order`: the verifier's. `chain`: no branches."""
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
        for arm in self.arms:
            if small is not None and isinstance(arm.drafter, SmallModel):
                arm.drafter.timings = Timings(small)

    @property
    def plain_ms(self) -> float | None:
        return self.timings.plain_ms

    def start(self, prompt: Sequence[int], limits: Limits) -> Iterator[Step]:
        self._used = None
        for arm in self.arms:
            rests = isinstance(arm.drafter, SmallModel) and arm.throttle.state == "closed"
            # a model that may not draft before the answer ends reads the prompt when it does
            yield from arm.drafter.start(prompt[:1] if rests else prompt, limits)

    def propose(self, sequence: Sequence[int], room: Room, unread: int, meter: Meter) -> Proposal:
        self._used = None
        for arm in self.arms:
            arm.throttle.convince(arm.drafter.streak)
        if all(arm.throttle.state == "closed" for arm in self.arms):
            return empty()
        curve = self.timings.curve
        unknown = not self.is_measured and self.timings.count(1) < PLAIN_FIRST
        if curve is None or unknown or self._since >= PLAIN_AGAIN:
            return empty()
        if min(room.nodes, room.depth) < 1:
            return empty()
        if self._chain:
            room = replace(room, leaves=1)
        best, best_rate, found = None, 1 / self._plain_ms(curve, unread), empty()
        for arm in self.arms:
            state = arm.throttle.state
            if state == "closed":
                continue
            if isinstance(arm.drafter, SmallModel):
                rate = self._foreseen(arm, arm.drafter, sequence, curve, unread, room)
                if state == "probe" or rate > best_rate:
                    best, best_rate, found = arm, rate, empty()
            else:
                growth = self._growth(arm, curve, unread, room)
                proposal = arm.drafter.propose(sequence, growth, meter)
                if len(proposal) == 0:
                    continue
                rate = growth.best_rate if isinstance(growth, TimedGrowth) else 0.0
                if state == "probe" or rate > best_rate:
                    best, best_rate, found = arm, rate, proposal
            if state == "probe":
                break
        if best is None:
            return empty()
        if isinstance(best.drafter, SmallModel):
            found = best.drafter.propose(sequence, self._growth(best, curve, unread, room), meter)
        self._used = best if len(found) else None
        return found

    def filled(self, size: int) -> int:
        return self.timings.filled(size)

    def learn(self, outcome: Outcome) -> None:
        if self._used is not None:
            observe(self._used.rates, outcome, self._in_order)
            deepest = 1 + max(outcome.proposal.tree.depths())
            self._used.reached(len(outcome.verdict.path), deepest)
        for arm in self.arms:
            # a table learns row by row, at a cost that shows where a forward is short; while it rests it need not
            if arm.throttle.state != "closed" or not isinstance(arm.drafter, Recycling):
                arm.drafter.learn(outcome)

    def account(self, step: Step) -> None:
        self._since += 1
        for forward in step.forwards:
            if forward.model == "large" and forward.purpose != "prompt":
                self._time(forward.tokens, forward.ms)
        if self._used is None:
            self._plain_own_ms += 0.2 * (step.own_ms - self._plain_own_ms)
        shows = self._plain_own_ms > SHOWS * (self.plain_ms or 0.0)
        for arm in self.arms:
            if arm is self._used:
                self._judge(arm, step)
                continue
            arm.throttle.tick()
            if shows:
                arm.throttle.rest()
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

    def _foreseen(
        self,
        arm: Arm,
        small: SmallModel,
        sequence: Sequence[int],
        curve: CostCurve,
        unread: int,
        room: Room,
    ) -> float:
        """Tokens per millisecond of the best chain that the small model is expected to write."""
        most = min(FORESEEN, room.nodes, room.depth)
        tokens = expected_tokens([arm.rates.at_depth(depth) for depth in range(most)])
        spent = arm.own_ms + small.draft_ms(small.unread(sequence)) - small.draft_ms()
        return max(
            tokens[k] / max(spent + k * small.draft_ms() + curve.ms(unread + k), 1e-6)
            for k in range(1, most + 1)
        )

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
