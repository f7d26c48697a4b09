"""Whether pads pay in the next forward, where what they are sure of is trusted at once.

A round with pads reads the unit that the one before it wrote, and the pads. With y trusted tokens a
round it takes as long as a forward of 1 + y tokens and the pads, and writes 1 + y. So the forecast
is

    speed = (1 + y) ms(1) / ms(1 + y + pads)

with y as noted when the part was learned, and as counted since. Where that does not pay, nothing is
fed behind a token, and a round is one of plain decoding.
"""

from __future__ import annotations

from math import ceil

from adec.decoding.heads.loss_bound import LossBound
from adec.decoding.heads.noted_mean import NotedMean
from adec.decoding.pair.clock.round_costs import SURE, RoundCosts
from adec.events.records import Step

TRUST, MEMORY = 20.0, 80.0
"""Rounds that what was noted beforehand weighs, and that are remembered at most."""


class PadClock:
    """Goes on from answer to answer."""

    def __init__(self, costs: RoundCosts, pads: float, trusted: float) -> None:
        """`pads`: tokens that the pads of a forward count as. `trusted`: tokens that they wrote a
        forward when the part was learned."""
        self._costs = costs
        self._pads = pads
        self._trusted = NotedMean(trusted, trust=TRUST, memory=MEMORY)
        self._bound = LossBound()

    @property
    def plain_ms(self) -> float | None:
        """What a forward of one token takes now, as far as known."""
        return self._costs.times.plain_ms

    def feeds(self) -> bool:
        """Whether to feed pads in the next forward."""
        costs = self._costs
        if self._bound.resting or costs.plain_is_due:
            return False
        curve = costs.times.hopeful if costs.may_explore else costs.curve
        if costs.curve is None or curve is None:
            return False
        trusted = self._trusted.value
        ms = curve.ms(ceil(1 + trusted + self._pads)) + costs.own_ms
        speed = (1 + trusted) * costs.plain_round_ms(curve, 1) / max(ms, 1e-6)
        if speed >= (1.0 if self._bound.balance_ms > 0 else SURE):
            return True
        self._bound.refuse()
        return False

    def account(self, step: Step, *, fed: bool) -> None:
        """Take in a round and what it took."""
        costs = self._costs
        steady = costs.record(step, plain=not fed)
        if not fed:
            if self._bound.resting and self._bound.pass_rounds(1):
                self._trusted.soften()
            return
        self._trusted.add(len(step.tokens) - 1)
        if steady and costs.curve is not None:
            plain_ms = costs.plain_round_ms(costs.curve, 1)
            won_ms = len(step.tokens) * plain_ms - step.ms() - step.own_ms
            self._bound.book(won_ms, plain_ms)

    def finish(self) -> None:
        """An answer has ended."""
        self._costs.keep()
        self._costs.new_answer()
