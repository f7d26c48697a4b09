"""What a forward of n tokens costs on this machine: a curve through measured points, steps and all.

Verification is neither flat nor linear in n: kernels work in blocks, so a curve has steps, and the
cheapest place to stop is just before one. It even falls: a block that is nearly full may take
longer than a full one (15 tokens 200 ms and 16 tokens 143 ms, a model of a billion parameters in
Q4_0 on two cores). A forward may be filled up with tokens that nobody needs, so n tokens cost the
least that any m >= n cost. Nothing is fitted: points are medians, with straight lines between them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median, median_low

from adec.events.records import Role

SLOPE_UNSEEN = 0.15
"""Cost of a further token beyond what was measured, as a share of the cost of one, while only one
size is known. Between 0 (bound by memory) and 1 (bound by arithmetic), and low, so that a first
draft is tried and measured."""

FILL = 8
"""Padding limit: a forward is filled up with at most FILL tokens, or with as many as it has if that
is more. Attention on a CPU changes its method at 64, so large jumps can pay."""
WORTH = 0.95
"""A larger forward replaces a smaller one if it costs less than this share of it: medians of a few
differ by chance."""

EXACT = 64
"""Sizes up to here are kept one by one."""

WINDOW = 9
"""Forwards of a size whose median counts. Odd and small: the context grows during an answer, and
cost with it."""

GRID = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""Sizes at which a cautious curve uses an upper bound if nothing near was measured."""
NEAR = 1.5
"""A size is known if a size at most this many times away was seen on either side."""

SURELY = 3
"""Forwards of a size from which on their median is believed, however long it is."""
IMPLAUSIBLE = 1.5
"""Until then, a forward that took more than this share of what its tokens take one by one was
interrupted: its process was stopped, say. It tells nothing about its size."""

BEFOREHAND = 0.15
"""How far off times that were measured beforehand may be for each other, as shares."""
UNSEEN = 1.0
"""The same of a forward that this run has seen, but less than SURELY times: slow by chance?"""

REDRAWN = 16
"""Forwards of well-known sizes after which the curve is drawn again."""


class CostCurve:
    """Milliseconds of a forward by its number of tokens."""

    def __init__(self, points: Mapping[int, float]) -> None:
        """`points`: size (at least 1) to milliseconds (at least 0); at least one point.

        Raises ValueError for any other points.
        """
        if not points or min(points) < 1 or min(points.values()) < 0:
            raise ValueError("a cost curve needs points (size >= 1, ms >= 0)")
        self._sizes = sorted(points)
        self._ms = [float(points[n]) for n in self._sizes]
        self._known: dict[int, tuple[float, int]] = {}
        self._ahead: dict[tuple[int, int], float] = {}

    @property
    def points(self) -> dict[int, float]:
        """The corners of the curve."""
        return dict(zip(self._sizes, self._ms, strict=True))

    def scaled(self, share: float) -> CostCurve:
        """The curve of a model whose forwards take `share` of this one's."""
        return CostCurve({size: share * ms for size, ms in self.points.items()})

    def ms(self, size: int) -> float:
        """Cost of a forward of `size` tokens, filled up where that is cheaper; 0 for no tokens."""
        return (self._known.get(size) or self._best(size))[0]

    def least_more(self, size: int, ahead: int) -> float:
        """Milliseconds that a further token adds at least, on average over up to `ahead` of them.

        Between two corners the curve is a line, so the least lies at a corner or at the end.
        """
        key = size, ahead
        if key not in self._ahead:
            now, last = self.ms(size), size + ahead
            start, stop = bisect_right(self._sizes, size), bisect_left(self._sizes, last)
            sizes = [*self._sizes[start:stop], last]
            self._ahead[key] = min((self.ms(other) - now) / (other - size) for other in sizes)
        return self._ahead[key]

    def filled(self, size: int) -> int:
        """How many tokens to feed instead of `size`: more where a fuller forward is cheaper."""
        return self._best(size)[1]

    def _best(self, size: int) -> tuple[float, int]:
        if size < 1:
            return 0.0, size
        if size not in self._known:
            plain = self._interpolate(size)
            start = bisect_right(self._sizes, size)
            fuller = [
                (ms, n)
                for n, ms in zip(self._sizes[start:], self._ms[start:], strict=True)
                if n <= size + max(FILL, size) and ms < WORTH * plain
            ]
            # one token is what plain decoding feeds
            self._known[size] = min(fuller) if fuller and size > 1 else (plain, size)
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
        """Milliseconds per token outside the measured range."""
        sizes, costs = self._sizes, self._ms
        if len(sizes) == 1:
            return SLOPE_UNSEEN * costs[0] / (1 + SLOPE_UNSEEN * (sizes[0] - 1))
        return max(0.0, (costs[-1] - costs[0]) / (sizes[-1] - sizes[0]))


@dataclass(frozen=True)
class Curves:
    """What calibration measured, handed to a strategy that decides by time."""

    large: CostCurve
    small: CostCurve | None = None

    @property
    def by_role(self) -> dict[Role, CostCurve]:
        """The curves that there are."""
        curves = {"large": self.large}
        return curves if self.small is None else {**curves, "small": self.small}


def upper_bounds(points: Mapping[int, float]) -> dict[int, float]:
    """The most that forwards of the sizes of `GRID` can cost, where no size near them was measured.

    A forward can be cut into smaller ones or filled up to a larger one, so it costs at most what
    the cheaper of the two does.
    """
    bounds: dict[int, float] = {}
    for size in GRID:
        below = [n for n in points if n <= size]
        above = [n for n in points if n >= size]
        if not below or (above and min(above) <= NEAR * max(below)):
            continue
        cut = min(points[n] * -(-size // n) for n in below)
        bounds[size] = min([cut, *(points[n] for n in above)])
    return bounds


class LearnedCurve:
    """A curve that learns from the run's own forwards.

    A curve that was measured beforehand fills the sizes not seen yet, scaled to the machine's speed
    today. It is cautious: sizes far from any that was measured cost the most that they can.
    """

    def __init__(self, measured: CostCurve | None = None) -> None:
        self.is_measured = measured is not None
        """Whether a curve was given."""
        self.hopeful = measured
        """The curve with straight lines across unknown sizes; None before anything was measured."""
        self._measured = measured
        self._seen: dict[int, deque[float]] = {}
        self._curve: CostCurve | None = None
        self._medians: dict[int, float] = {}
        self._newer, self._moved = 0, False  # since the curve was drawn

    def record(self, size: int, ms: float) -> None:
        """Learn that a forward of `size` tokens took `ms`."""
        if size > EXACT:
            # prompts come in any length: what they say is kept for powers of two
            ms, size = ms / size, 1 << (size.bit_length() - 1)
            ms *= size
        seen = self._seen.setdefault(size, deque(maxlen=WINDOW))
        seen.append(ms)
        # an interruption only adds, so of two times the lower one counts
        now = median_low(seen)
        # the third forward of a size is one that is believed
        self._moved = self._moved or now != self._medians.get(size) or len(seen) <= SURELY
        self._medians[size] = now
        self._newer += 1
        # drawing a curve takes tens of microseconds: once a size is well known it can wait
        if self._moved and (len(seen) < WINDOW or self._newer >= REDRAWN):
            self._curve = None

    def refresh(self) -> None:
        """Have the curve drawn anew, for a decision that must not rest on an old one."""
        if self._moved:
            self._curve = None

    def forget(self) -> None:
        """Drop the run's own times, and keep what was measured beforehand."""
        self._seen.clear()
        self._medians.clear()
        self._curve = None

    @property
    def is_fresh(self) -> bool:
        """Whether this run has seen a forward."""
        return bool(self._seen)

    def count(self, size: int) -> int:
        """Forwards of this size seen lately."""
        return len(self._seen.get(size, ()))

    @property
    def plain_ms(self) -> float | None:
        """A forward of one token, as known now."""
        curve = self.curve
        return None if curve is None else curve.ms(1)

    @property
    def slowness(self) -> float:
        """How many times as long as measured beforehand one token takes now, as far as known."""
        before = None if self._measured is None else self._measured.points.get(1)
        return self._medians[1] / before if before and 1 in self._medians else 1.0

    @property
    def noise(self) -> float:
        """How far off the time of one token may be, as a share of it: half of what the latest
        forwards span."""
        seen = self._seen.get(1, ())
        if len(seen) < SURELY:
            return BEFOREHAND if self._measured is not None and not seen else UNSEEN
        return (max(seen) - min(seen)) / (2 * max(self._medians[1], 1e-6))

    def filled(self, size: int) -> int:
        """See `CostCurve.filled`; `size` while no curve is known."""
        return size if self.curve is None else self.curve.filled(size)

    @property
    def is_sparse(self) -> bool:
        """Whether there are sizes whose cost is only bounded."""
        return self.curve is not self.hopeful

    @property
    def points(self) -> dict[int, float]:
        """Milliseconds by size, as measured beforehand or in this run."""
        return {} if self.curve is None or self.hopeful is None else self.hopeful.points

    @property
    def curve(self) -> CostCurve | None:
        """The curve as known now; None before anything was measured."""
        if self._curve is None and (self._seen or self._measured is not None):
            self._curve = self._draw()
            self._newer, self._moved = 0, False
        return self._curve

    def _draw(self) -> CostCurve:
        points = dict(self._medians)
        if self._measured is not None:
            # sizes that both know say how fast the machine is today
            before = self._measured.points
            shared = [ms / before[size] for size, ms in points.items() if before.get(size)]
            speed = median(shared) if shared else 1.0
            for size, ms in before.items():
                points.setdefault(size, speed * ms)
        points = self._plausible(points)
        bounds = upper_bounds(points)
        self.hopeful = CostCurve(points)
        return CostCurve({**points, **bounds}) if bounds else self.hopeful

    def _plausible(self, points: Mapping[int, float]) -> dict[int, float]:
        """The points without those of forwards that were interrupted."""
        single = points.get(1)
        if single is None:
            return dict(points)
        return {
            size: ms
            for size, ms in points.items()
            if ms <= IMPLAUSIBLE * size * single or self.count(size) >= SURELY or size == 1
        }
