"""How many canvases a forward of FreeDave verifies: as many as pay, by the clock.

A forward of one canvas fills one position. One of w canvases fills 1 + a1 + a1 a2 + ... positions,
where ai is the chance that the i-th draft holds. Whether that pays is a question of time: on a
processor w canvases mostly take w times as long as one, and then no width pays; on an accelerator
they may take as long as one.

Chances are learned by the confidence of a draft, also from forwards that verify nothing, since the
next canvas shows what the draft was worth. Times are learned from the forwards themselves. A width
that was never seen is taken to cost as much as its canvases one by one, unless a profile knows
better, and is tried where that costs next to nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from statistics import median

from adec.decoding.pair.clock.cost_curve import CostCurve

PAYS = 1.05
"""Positions a millisecond, as a multiple of those of one canvas, from which a width is taken."""
SURELY = 3
"""Forwards of a width from which on its time is believed."""
KEPT = 9
"""Newest forwards of a width whose median counts: the machine may slow down or recover."""
TRIALS = 0.01
"""Share of the forwards that trials of a width may lose, if it turns out to save nothing."""
EDGES = (0.6, 0.75, 0.87, 0.94, 0.98, 0.995)
"""Confidences between which drafts are alike."""
PRIOR = 2.0
"""Drafts that the assumption is worth that a draft holds as often as its confidence says."""


class DraftWidth:
    """Learned from one strategy's forwards, over all its answers."""

    def __init__(self, most: int, curve: CostCurve | None = None) -> None:
        """`most`: canvases of a forward. `curve`: milliseconds by positions, where known."""
        self._most = most
        self._curve = curve
        self._times: dict[int, deque[float]] = {}
        """Milliseconds of a position, by canvases of the forward."""
        self._held = [0.0] * (len(EDGES) + 1)
        self._seen = [0.0] * (len(EDGES) + 1)
        self._forwards = 0
        self._lost = 0.0
        """Forwards that trials may have cost."""

    def choose(self, length: int, confidences: Sequence[float]) -> int:
        """Canvases of the next forward, at least one.

        `length`: positions of a canvas. `confidences`: of the drafts after the step that is sure,
        of which each further canvas verifies one.
        """
        widest = min(self._most, 1 + len(confidences))
        fills = [1.0]
        chance = 1.0
        for confidence in confidences[: widest - 1]:
            chance *= self._holds(confidence)
            fills.append(fills[-1] + chance)
        if not self._is_sure(1):
            return 1
        costs = [self._cost(width, length) for width in range(1, widest + 1)]
        best = max(range(widest), key=lambda i: (fills[i] / costs[i], -i))
        if fills[best] / costs[best] > PAYS * fills[0] / costs[0]:
            return best + 1
        if widest > 1 and not self._is_sure(2):
            loss = 2 - fills[1]
            if self._lost + loss <= TRIALS * self._forwards:
                self._lost += loss
                return 2
        return 1

    def took(self, canvases: int, length: int, ms: float) -> None:
        """A forward of so many canvases of that length took so long."""
        times = self._times.setdefault(canvases, deque(maxlen=KEPT))
        times.append(max(ms, 1e-6) / (canvases * length))
        self._forwards += 1

    def saw(self, confidence: float, held: bool) -> None:
        """A draft of that confidence was right, or not."""
        at = bisect_right(EDGES, confidence)
        self._held[at] += held
        self._seen[at] += 1

    def _holds(self, confidence: float) -> float:
        at = bisect_right(EDGES, confidence)
        return (self._held[at] + PRIOR * confidence) / (self._seen[at] + PRIOR)

    def _is_sure(self, canvases: int) -> bool:
        return len(self._times.get(canvases, ())) >= SURELY

    def _cost(self, canvases: int, length: int) -> float:
        """Milliseconds: measured, else along the line through the widths that were, else by the
        profile's curve, else as one by one."""
        known = [width for width in self._times if self._is_sure(width)]
        if canvases in known:
            return self._measured(canvases, length)
        below = [width for width in sorted(known) if width < canvases]
        one = self._measured(1, length)
        if len(below) > 1:
            first, last = below[0], below[-1]
            slope = (self._measured(last, length) - one) / (last - first)
            return max(one, one + slope * (canvases - first))
        if self._curve is not None:
            return one * self._curve.ms(canvases * length) / max(1e-9, self._curve.ms(length))
        return one * canvases

    def _measured(self, canvases: int, length: int) -> float:
        return median(self._times[canvases]) * canvases * length
