"""What a round costs: the large model's forward times, and what a plain round takes all in."""

from __future__ import annotations

from collections.abc import Iterator

from adec.decoding.pair.clock.cost_curve import CostCurve, LearnedCurve
from adec.decoding.pair.clock.first_use import curve_at_first_use
from adec.engines.base import Engine
from adec.events.records import Step

PLAIN_FIRST = 2
"""Plain rounds before anything is drafted when no curve is given, to measure what drafts must
beat."""
PLAIN_SOON, PLAIN_AGAIN = 6, 32
"""Rounds after which a plain one is due, so that what drafts must beat is measured in this run: the
first time if a curve was given, and later."""


class RoundCosts:
    """Learns from the rounds of a run, beginning with a curve measured before, if there is one."""

    def __init__(
        self, large: Engine, curve: CostCurve | None = None, *, measures: bool = True
    ) -> None:
        """`measures`: measure a curve at first use when none is given."""
        self.own_ms = 0.0
        """Running mean of the strategy's own time in plain rounds."""
        self._large = large
        self._measures = measures
        self._last_size = 0
        self._begin(curve)

    def _begin(self, curve: CostCurve | None) -> None:
        self.times = LearnedCurve(curve)
        """Forwards of the large model."""
        self._since_plain = 0 if curve is None else PLAIN_AGAIN - PLAIN_SOON

    def measure_at_first_use(self) -> Iterator[Step]:
        """Measure the large model's curve, or read the one kept, unless it was given."""
        if self._measures and not self.times.is_measured:
            curve = yield from curve_at_first_use(self._large)
            if curve is not None:
                self._begin(curve)

    @property
    def curve(self) -> CostCurve | None:
        """The large model's curve, once drafts can be weighed against plain decoding."""
        known = self.times.is_measured or self.times.count(1) >= PLAIN_FIRST
        return self.times.curve if known else None

    @property
    def plain_is_due(self) -> bool:
        """Whether to measure a plain round now."""
        return self._since_plain >= PLAIN_AGAIN

    def plain_round_ms(self, curve: CostCurve, unread: int) -> float:
        """What a plain round takes that feeds `unread` tokens."""
        return max(curve.ms(unread) + self.own_ms, 1e-6)

    def record(self, step: Step, *, plain: bool) -> None:
        """Learn from a round; `plain`: nothing was drafted in it."""
        self._since_plain += 1
        for forward in step.forwards:
            if forward.model != "large" or forward.purpose == "rewind":
                continue
            size, last = forward.tokens, self._last_size
            # the first single token after a batch is slow, as the backend sets up for another size
            if size > 1 or last == 1:
                self.times.record(size, forward.ms)
                if size == 1:
                    self._since_plain = 0
            self._last_size = size
        if plain:
            self.own_ms += 0.2 * (step.own_ms - self.own_ms)
