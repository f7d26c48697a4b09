"""What a forward of n tokens costs on this machine: a curve through measured points, steps and all.

Verification is neither flat nor linear in n: kernels work in blocks, so a curve has steps, and the cheapest place to
stop is just before one. Nothing is fitted but monotony: points are medians, made not to fall by pooling neighbours
(isotonic regression), with straight lines between them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

SLOPE_UNSEEN = 0.15
"""Cost of a further token beyond what was measured, as a share of the cost per forward, while only one size is known.
Between 0 (bound by memory) and 1 (bound by arithmetic); on the low side, so that a first draft is tried and measured."""

WINDOW = 9
"""Forwards of a size whose median counts. Odd and small: the context grows during an answer, and cost with it."""


class CostCurve:
    """Milliseconds of a forward by its number of tokens. Never falls."""

    def __init__(
        self, points: Mapping[int, float], weights: Mapping[int, int] | None = None
    ) -> None:
        """`points`: size (at least 1) to milliseconds (at least 0); at least one point."""
        if not points or min(points) < 1 or min(points.values()) < 0:
            raise ValueError("a cost curve needs points (size >= 1, ms >= 0)")
        self._sizes = sorted(points)
        self._ms = _isotonic(
            [points[n] for n in self._sizes],
            [1 if weights is None else weights.get(n, 1) for n in self._sizes],
        )
        self._known: dict[int, float] = {}

    @property
    def points(self) -> dict[int, float]:
        """The corners of the curve."""
        return dict(zip(self._sizes, self._ms, strict=True))

    def ms(self, size: int) -> float:
        """Cost of a forward of `size` tokens; 0 for no tokens."""
        if size < 1:
            return 0.0
        if size not in self._known:
            self._known[size] = self._interpolate(size)
        return self._known[size]

    def _interpolate(self, size: int) -> float:
        sizes, costs = self._sizes, self._ms
        place = bisect_left(sizes, size)
        if place < len(sizes) and sizes[place] == size:
            return costs[place]
        if place == 0:
            # nothing smaller was measured: the same slope backwards, but never free
            slope = self._slope()
            return max(costs[0] - slope * (sizes[0] - size), costs[0] * size / sizes[0])
        if place == len(sizes):
            return costs[-1] + self._slope() * (size - sizes[-1])
        low, high = sizes[place - 1], sizes[place]
        share = (size - low) / (high - low)
        return costs[place - 1] + share * (costs[place] - costs[place - 1])

    def _slope(self) -> float:
        """Milliseconds a token outside the measured range."""
        sizes, costs = self._sizes, self._ms
        if len(sizes) == 1:
            return SLOPE_UNSEEN * costs[0] / (1 + SLOPE_UNSEEN * (sizes[0] - 1))
        return (costs[-1] - costs[0]) / (sizes[-1] - sizes[0])


@dataclass(frozen=True)
class Curves:
    """What calibration measured, handed to a strategy that decides by time."""

    large: CostCurve
    small: CostCurve | None = None


class Timings:
    """A curve that learns from the run's own forwards. A measured curve, if there is one, fills the sizes not yet seen."""

    def __init__(self, measured: CostCurve | None = None) -> None:
        self._measured = measured
        self._seen: dict[int, deque[float]] = {}
        self._curve = measured

    def record(self, size: int, ms: float) -> None:
        """A forward of `size` tokens took `ms`."""
        self._seen.setdefault(size, deque(maxlen=WINDOW)).append(ms)
        self._curve = None

    def count(self, size: int) -> int:
        """Forwards of this size seen lately."""
        return len(self._seen.get(size, ()))

    @property
    def plain_ms(self) -> float | None:
        """A forward of one token, as known now."""
        return None if self.curve is None else self.curve.ms(1)

    @property
    def curve(self) -> CostCurve | None:
        """The curve as known now; None before anything was measured."""
        if self._curve is None and self._seen:
            points = {size: median(values) for size, values in self._seen.items()}
            weights = {size: len(values) for size, values in self._seen.items()}
            if self._measured is not None:
                # what the run sees of sizes that both know says how fast the machine is today
                shared = [
                    points[n] / self._measured.ms(n) for n in points if self._measured.ms(n) > 0
                ]
                speed = median(shared) if shared else 1.0
                for size, ms in self._measured.points.items():
                    points.setdefault(size, speed * ms)
            self._curve = CostCurve(points, weights)
        return self._curve


def _isotonic(values: list[float], weights: Iterable[int]) -> list[float]:
    """The non-falling sequence nearest to `values` in weighted squares: pool adjacent violators."""
    pools: list[tuple[float, int, int]] = []  # mean, weight, how many values
    for value, weight in zip(values, weights, strict=True):
        mean, total, count = float(value), weight, 1
        while pools and pools[-1][0] > mean:
            before, other, others = pools.pop()
            mean = (mean * total + before * other) / (total + other)
            total += other
            count += others
        pools.append((mean, total, count))
    return [mean for mean, _, count in pools for _ in range(count)]
