"""Medians with bootstrap intervals, Wilson's interval for a share, outliers by modified z-score."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

CONFIDENCE = 0.95
RESAMPLES = 2000
FEWEST = 5
"""Values that an interval takes: of fewer, a resampled median says too little."""
OUTLIER = 14.8
"""Modified z-score above which a value counts as an outlier: hyperfine's threshold, which only
gross outliers reach."""

NORMAL = 1.959963984540054
"""Normal quantile of (1 + CONFIDENCE) / 2."""
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Interval:
    """A median with a 95 % percentile-bootstrap interval; without bounds for few values."""

    middle: float
    low: float | None = None
    high: float | None = None
    count: int = 0

    def overlaps(self, other: Interval) -> bool:
        """Whether two intervals share a point; True where one has no bounds."""
        if self.low is None or self.high is None or other.low is None or other.high is None:
            return True
        return self.low <= other.high and other.low <= self.high


@dataclass(frozen=True, slots=True)
class Share:
    """`part` of `count`, with Wilson's score interval of 95 % (Wilson 1927)."""

    part: int
    count: int

    @property
    def value(self) -> float:
        return self.part / self.count

    @property
    def interval(self) -> tuple[float, float]:
        """Bounds between 0 and 1; they do not collapse at 0 or `count`."""
        n, p = self.count, self.value
        centre = (p + NORMAL * NORMAL / (2 * n)) / (1 + NORMAL * NORMAL / n)
        half = (
            NORMAL
            / (1 + NORMAL * NORMAL / n)
            * sqrt(p * (1 - p) / n + NORMAL * NORMAL / (4 * n * n))
        )
        return max(0.0, centre - half), min(1.0, centre + half)


@dataclass(frozen=True, slots=True)
class Gain:
    """Two rows on `count` prompts: only the second is right on `won`, only the first on `lost`."""

    won: int
    lost: int
    count: int

    @property
    def value(self) -> float:
        """Difference in accuracy, -1 to 1."""
        return (self.won - self.lost) / self.count

    @property
    def interval(self) -> tuple[float, float]:
        """95 % bounds of the difference for paired answers (Agresti and Min 2005).

        Wald's interval with a half added to each of the four counts, so that few differences do
        not give an interval of no width.
        """
        size = self.count + 2
        middle = (self.won - self.lost) / size
        spread = self.won + self.lost + 1 - (self.won - self.lost) ** 2 / size
        half = NORMAL * sqrt(max(0.0, spread)) / size
        return max(-1.0, middle - half), min(1.0, middle + half)


def median_interval(values: Values, seed: int) -> Interval | None:
    """None without values. The same values and seed give the same interval."""
    count = int(values.shape[0])
    if count == 0:
        return None
    middle = float(np.median(values))
    if count < FEWEST:
        return Interval(middle, count=count)
    generator = np.random.default_rng(seed)
    medians = np.empty(RESAMPLES)
    rows = max(1, _BLOCK // count)
    for start in range(0, RESAMPLES, rows):
        part = min(rows, RESAMPLES - start)
        drawn = values[generator.integers(0, count, size=(part, count))]
        medians[start : start + part] = np.median(drawn, axis=1)
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(medians, [tail, 100 - tail])
    return Interval(middle, float(low), float(high), count)


def outliers(values: Values) -> NDArray[np.int64]:
    """Indices where |0.6745 (x - median) / MAD| > `OUTLIER` (Iglewicz and Hoaglin 1993)."""
    if values.shape[0] < FEWEST:
        return np.empty(0, dtype=np.int64)
    deviation = np.abs(values - np.median(values))
    spread = float(np.median(deviation))
    if spread == 0.0:
        return np.empty(0, dtype=np.int64)
    return np.flatnonzero(0.6745 * deviation / spread > OUTLIER)
