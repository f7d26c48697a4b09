"""Milliseconds of drafting at an exit and of verifying the drafts, learned from the run itself."""

from __future__ import annotations

from statistics import median

from adec.events.records import Forward, Step

_KEPT = 32
"""Newest forwards of a kind that count: the machine may slow down or recover."""


class ExitTimes:
    """Times of rounds by depth and length.

    A draft at depth d takes `head + d * layer`, a line through the drafts seen so far; with a
    single depth seen, the head is taken to cost nothing. Verifying n tokens takes so much a layer,
    by n: what was seen, and between and beyond the sizes seen a straight line.
    """

    def __init__(self, layers: int) -> None:
        self._layers = layers
        self._drafts: dict[int, list[float]] = {}
        self._layer_ms: dict[int, list[float]] = {}
        """Of a layer, by tokens verified at once."""
        self._plain: list[float] = []

    def add(self, step: Step) -> None:
        """Take in the forwards of a round."""
        drafts = [f for f in step.forwards if f.purpose == "draft" and f.layers is not None]
        if not drafts:
            for forward in step.forwards:
                if forward.tokens == 1:
                    _keep(self._plain, forward)
            return
        for forward in drafts:
            _keep(self._drafts.setdefault(forward.layers or 0, []), forward)
        for forward in step.forwards:
            if forward.purpose == "verify" and forward.layers:
                times = self._layer_ms.setdefault(forward.tokens, [])
                _keep(times, forward, forward.layers)

    def add_batch(self, tokens: int, ms: float, layers: int) -> None:
        """Take in a forward of several tokens through so many layers."""
        times = self._layer_ms.setdefault(tokens, [])
        times.append(max(ms / layers, 1e-6))
        del times[:-_KEPT]

    def draft_ms(self, depth: int) -> float:
        """One token through `depth` layers, norm and head."""
        if depth in self._drafts:
            return median(self._drafts[depth])
        seen = sorted((at, median(times)) for at, times in self._drafts.items())
        if not seen:
            return self.plain_ms * depth / self._layers
        if len(seen) == 1:
            at, ms = seen[0]
            return ms * depth / at
        (low, low_ms), (high, high_ms) = seen[0], seen[-1]
        layer = max(0.0, (high_ms - low_ms) / (high - low))
        return max(low_ms + layer * (depth - low), 0.0)

    def finish_ms(self, depth: int, tokens: int) -> float:
        """The layers above `depth` for `tokens` at once."""
        sizes = {1: self.plain_ms / self._layers}
        sizes |= {size: median(times) for size, times in self._layer_ms.items()}
        below = max(size for size in sizes if size <= tokens)
        above = min((size for size in sizes if size >= tokens), default=None)
        if above == below:
            return sizes[below] * (self._layers - depth)
        first, last = (below, above) if above is not None else (1, below)
        slope = max(0.0, sizes[last] - sizes[first]) / max(1, last - first)
        if first == last:
            slope = sizes[1]  # nothing is known of batches: each token may cost its own forward
        return (sizes[below] + slope * (tokens - below)) * (self._layers - depth)

    def round_ms(self, depth: int, length: int) -> float:
        """A whole round of `length` drafts."""
        return length * self.draft_ms(depth) + self.finish_ms(depth, length + 1)

    @property
    def plain_ms(self) -> float:
        """One token through the whole model."""
        if self._plain:
            return median(self._plain)
        depths = [ms * self._layers / at for at, times in self._drafts.items() for ms in times]
        return median(depths) if depths else 1.0

    def plain_rate(self) -> float:
        """Tokens a millisecond without drafts."""
        return 1 / self.plain_ms


def _keep(times: list[float], forward: Forward, parts: int = 1) -> None:
    times.append(max(forward.ms / parts, 1e-6))
    del times[:-_KEPT]
