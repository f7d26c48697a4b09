"""What a token of the large model alone takes in a run, and how that is known."""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence

ENOUGH = 3
"""One-token forwards of the large model after which its speed counts as measured; a fit takes twice
as many larger ones."""
DOUBT = 2.0
"""Factor by which a time of plain decoding that was measured before may be off this run's forwards.
"""
PLENTY = 10_000
"""Forwards that are kept for a median, so that a trace of any length takes bounded
memory."""


class PlainTime:
    """Learns from a run's forwards of the whole large model; `known` at any time.

    In this order it is known as

    - "measured": the median of one-token forwards in this run, on a canvas of all;
    - "curve": the forward-time curve that the strategy decides with, scaled to this run's forwards;
    - "profile": what the profile measured;
    - "fitted": a line through this run's larger forwards, read at one token.

    A curve or profile that this run's forwards contradict was measured under another load: no gain
    is claimed from it, and where nothing else is known this says "contradicted".
    """

    curve_ms: float | None = None
    """Of the curve, as last told."""

    def __init__(self, profile_ms: float | None) -> None:
        """`profile_ms`: None where there is no profile with times."""
        self._profile_ms = profile_ms
        # kept in order: a display asks for the median several times a second
        self._single_ms: list[float] = []
        self._ms: list[float] = []
        self._ms_each: list[float] = []
        self._line = _Line()

    def add(self, tokens: int, ms: float) -> None:
        """A forward of so many tokens took `ms`."""
        self._line.add(tokens, ms)
        if len(self._ms) < PLENTY:
            insort(self._ms, ms)
            insort(self._ms_each, ms / max(1, tokens))
        if tokens == 1 and len(self._single_ms) < PLENTY:
            insort(self._single_ms, ms)

    def known(self, *, on_canvas: bool) -> tuple[float | None, str | None]:
        """Milliseconds of a one-token forward, and how they are known.

        On a canvas plain decoding writes one position a forward, whatever else that computes.
        """
        if on_canvas:
            enough = len(self._ms) >= ENOUGH
            return (_median(self._ms), "measured") if enough else (None, None)
        if len(self._single_ms) >= ENOUGH:
            return _median(self._single_ms), "measured"
        beforehand = ((self.curve_ms, "curve"), (self._profile_ms, "profile"))
        known = [(ms, origin) for ms, origin in beforehand if ms is not None]
        for ms, origin in known:
            if not self._contradicts(ms):
                return ms, origin
        fitted = self._line.at(1.0)
        if fitted is not None:
            return fitted, "fitted"
        return None, "contradicted" if known else None

    def _contradicts(self, plain_ms: float) -> bool:
        """Whether one-token forwards cannot take `plain_ms` in this run.

        A forward of n tokens takes as long as one of a single token at least, and n times as long
        at most.
        """
        if len(self._ms) < ENOUGH:
            return False
        least, most = _median(self._ms_each), _median(self._ms)
        return plain_ms > DOUBT * most or DOUBT * plain_ms < least


def _median(ordered: Sequence[float]) -> float:
    middle = len(ordered) // 2
    return (ordered[middle] + ordered[~middle]) / 2


class _Line:
    """Least squares of milliseconds over tokens, as running sums."""

    def __init__(self) -> None:
        self._n = 0
        self._x = self._y = self._xx = self._xy = 0.0

    def add(self, x: float, y: float) -> None:
        self._n += 1
        self._x += x
        self._y += y
        self._xx += x * x
        self._xy += x * y

    def at(self, x: float) -> float | None:
        """The line's value; None with too few points, with one size only, or if it would fall."""
        spread = self._n * self._xx - self._x * self._x
        if self._n < 2 * ENOUGH or spread <= 0:
            return None
        slope = (self._n * self._xy - self._x * self._y) / spread
        value = self._y / self._n + slope * (x - self._x / self._n)
        return value if slope >= 0 and value > 0 else None
