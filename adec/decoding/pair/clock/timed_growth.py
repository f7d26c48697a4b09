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
        if self.nodes >= self.most:
            return False
        now = self._score(self.tokens, self._ms(self.nodes))
        tokens, spent, chance = self.tokens, 0.0, value
        decay = min(STEADY, value / self._last) if self._last > 0 else 0.0
        for more in range(1, min(AHEAD, self.most - self.nodes) + 1):
            tokens += chance
            spent += draft_ms
            if self._score(tokens, self._ms(self.nodes + more) + spent) > now:
                return True
            chance *= decay
        return False

    def spend(self, draft_ms: float) -> None:
        self._spent += draft_ms

    def add(self, value: float) -> None:
        super().add(value)
        self.tokens += value
        self._last = value
        self._expected.append(self.tokens)

    def best(self) -> int:
        # a step that was climbed towards in vain leaves a tail that does not pay
        nodes = range(self.nodes + 1)
        return max(nodes, key=lambda n: self._score(self._expected[n], self._final_ms(n)))

    @property
    def best_rate(self) -> float:
        """Tokens per millisecond at the best number of nodes."""
        best = self.best()
        return self._expected[best] / self._final_ms(best)

    @property
    def best_draft_rate(self) -> float:
        """As `best_rate`, but with at least one node, and whether it may be tried or not."""
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

    def spend(self, draft_ms: float) -> None:
        self._growth.spend(draft_ms)

    def add(self, value: float) -> None:
        super().add(value)
        self._growth.add(value)
