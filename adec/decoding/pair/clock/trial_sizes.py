"""Which forwards of unknown size may be tried in the course of an answer, to learn their cost.

A size that was never run costs something between a straight line across the gap and an upper bound:
so many smaller forwards, or a larger one. A draft of n sure tokens loses nothing even at the upper
bound, since plain decoding would have written the same tokens in as many forwards. So what a trial
risks depends on the draft: the bound's time, less what its expected tokens take in plain decoding.
A long copy may jump to a size that pays at once; doubtful drafts go up step by step.
"""

from __future__ import annotations

from adec.decoding.pair.clock.cost_curve import CostCurve

STEPS = (2, 4, 8, 16, 32, 64)
"""Sizes that are tried: those at which kernels have their steps."""


class TrialSizes:
    """Prices forwards for drafts: unknown sizes hopefully if they may be tried, else cautiously."""

    def __init__(
        self, hopeful: CostCurve, cautious: CostCurve, *, plain_ms: float, stake: float
    ) -> None:
        """`plain_ms`: a plain round. `stake`: plain rounds that a trial may be expected to lose."""
        self._hopeful = hopeful
        self._cautious = cautious
        self._plain_ms = plain_ms
        self._allowed_ms = stake * plain_ms

    def knows(self, size: int) -> bool:
        """Whether forwards of this size, or of sizes near it, were seen."""
        return self._cautious.ms(size) <= self._hopeful.ms(size)

    def ms(self, size: int, tokens: float, spent_ms: float) -> float:
        """What a forward of `size` tokens counts, from which `tokens` are expected.

        `spent_ms`: the rest of the round.
        """
        bound_ms = self._cautious.ms(size)
        risk_ms = spent_ms + bound_ms - tokens * self._plain_ms
        if size in STEPS and risk_ms <= self._allowed_ms:
            return min(bound_ms, self._hopeful.ms(size))
        return bound_ms
