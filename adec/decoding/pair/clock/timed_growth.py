"""A proposal that grows while expected tokens per measured millisecond rise."""

from __future__ import annotations

from adec.decoding.pair.clock.acceptance_rate import Rates
from adec.decoding.pair.clock.cost_curve import CostCurve
from adec.decoding.pair.clock.trial_sizes import TrialSizes
from adec.decoding.pair.drafters.growth import Growth, Room

AHEAD = 16
"""Nodes beyond the next one that a decision looks at: the widest step that CPU kernels show.
Without it, growth stops at a step of the curve even if several nodes beyond it are free."""

STEADY = 0.97
"""Most that a future node is taken to be worth, as a share of the one before it. Below that, the
next ratio is that of the last two nodes: a draft that has been sure goes on being sure, and one
that has become unsure stops."""


class TimedGrowth(Growth):
    """A node is added while expected committed tokens per millisecond still rise.

    Expected tokens are 1 + the sum of the nodes' chances: each is committed or not, and the large
    model's own token always is. The time is that of drafting plus the verifying forward of unread
    tokens and nodes.

    A forward that reads a prompt as well is made in any case, so its rate says nothing. There a
    node is added while the tokens expected of it are worth more than the time that it adds.
    """

    def __init__(
        self,
        curve: CostCurve,
        *,
        unread: int,
        own_ms: float,
        room: Room,
        rates: Rates,
        most: int,
        worth_ms: float | None = None,
        trials: TrialSizes | None = None,
    ) -> None:
        """`worth_ms`: what a token takes in later rounds, if the forward is made in any case.
        `trials`: what forwards count in the end, if the curve is a hopeful one."""
        super().__init__(most, room, rates)
        self.tokens = 1.0
        self._last = 1.0
        self._expected = [1.0]
        self._curve = curve
        self._unread = unread
        self._spent = own_ms
        self._worth_ms = worth_ms
        self._trials = trials

    def admits(self, value: float, draft_ms: float = 0.0) -> bool:
        nodes, tokens = self.nodes, self.tokens
        if nodes >= self.most or self._cannot_pay(value, draft_ms):
            return False
        now = self._score(tokens, self._ms(nodes))
        spent, chance = 0.0, value
        decay = min(STEADY, value / self._last) if self._last > 0 else 0.0
        for more in range(1, min(AHEAD, self.most - nodes) + 1):
            tokens += chance
            spent += draft_ms
            if self._score(tokens, self._ms(nodes + more) + spent) > now:
                return True
            chance *= decay
        return False

    def _cannot_pay(self, value: float, draft_ms: float) -> bool:
        """Whether not even nodes that are all as good as the next one would raise the score.

        Most offers of an unpredictable text end here, so it is one comparison: what a node brings
        against the least that one adds.
        """
        added_ms = draft_ms + self._curve.least_more(self._unread + self.nodes, AHEAD)
        if self._worth_ms is not None:
            return value * self._worth_ms <= added_ms
        return value * self._ms(self.nodes) <= self.tokens * added_ms

    def spend(self, draft_ms: float) -> None:
        self._spent += draft_ms

    def add(self, value: float) -> None:
        super().add(value)
        self.tokens += value
        self._last = value
        self._expected.append(self.tokens)

    def best(self) -> int:
        # a step that was climbed towards in vain leaves a tail that does not pay
        expected, best = self._expected, 0
        best_score = self._score(1.0, self._ms(0))
        for nodes in range(1, self.nodes + 1):
            score = self._score(expected[nodes], self._final_ms(nodes))
            if score > best_score:
                best, best_score = nodes, score
        return best

    def rate(self, nodes: int) -> float:
        """Tokens per millisecond of the first `nodes` nodes."""
        return self._expected[nodes] / self._final_ms(nodes)

    @property
    def best_draft_rate(self) -> float:
        """The best rate with at least one node, whether that may be tried or not."""
        return max(self._expected[n] / self._ms(n) for n in range(1, self.nodes + 1))

    def _score(self, tokens: float, ms: float) -> float:
        return tokens / ms if self._worth_ms is None else tokens * self._worth_ms - ms

    def _ms(self, nodes: int) -> float:
        return max(1e-6, self._spent + self._curve.ms(self._unread + nodes))

    def _final_ms(self, nodes: int) -> float:
        if self._trials is None or not nodes:
            return self._ms(nodes)
        size, tokens = self._unread + nodes, self._expected[nodes]
        return max(1e-6, self._spent + self._trials.ms(size, tokens, self._spent))


class ObservedGrowth(Growth):
    """A timed growth that admits at least some nodes, to see whether they would have been right.

    `best` keeps all of them: the caller cuts the proposal to the inner growth's own `best`.
    """

    def __init__(self, growth: TimedGrowth, least: int) -> None:
        """`least`: nodes admitted whether they pay or not."""
        super().__init__(least, growth.room, growth.rates)
        self._growth = growth

    def admits(self, value: float, draft_ms: float = 0.0) -> bool:
        return super().admits(value) or self._growth.admits(value, draft_ms)

    def deepens(self, value: float) -> bool:
        # a plain round commits one token: what stands deeper could not be compared with anything
        return self._growth.admits(value)

    def spend(self, draft_ms: float) -> None:
        self._growth.spend(draft_ms)

    def add(self, value: float) -> None:
        super().add(value)
        self._growth.add(value)
