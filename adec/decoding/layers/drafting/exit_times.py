"""Milliseconds of drafting at an exit and of verifying the drafts, learned from the run itself."""

from __future__ import annotations

from statistics import median

from adec.events.records import Forward, Step

_KEPT = 32
"""Newest forwards of a kind that count: the machine may slow down or recover."""


class ExitTimes:
    """Times of rounds by depth and length.

    A draft at depth d takes `head + d * layer`, a line through the drafts seen so far; with a
    single depth seen or none, norm and head take `head_share` of a plain token. Verifying n tokens
    takes the same share of what the whole model takes for n, and its layers their part of the rest:
    W(n) is what was seen, and between and beyond the sizes seen a straight line. The last token
    that is verified was not drafted from, so its lower layers run alone.
    """

    def __init__(self, layers: int) -> None:
        self._layers = layers
        self.head_share = 0.0
        """Share of a plain token's time that norm and head take, while it was not seen."""
        self._drafts: dict[int, list[float]] = {}
        self._whole: dict[int, list[float]] = {}
        """All layers for so many tokens, a row each."""
        self._read: dict[int, list[float]] = {}
        """The same with one row in all."""
        self._plain: list[float] = []

    def add(self, step: Step) -> None:
        """Take in the forwards of a round."""
        drafts = [f for f in step.forwards if f.purpose == "draft" and f.layers is not None]
        if not drafts:
            for forward in step.forwards:
                if forward.tokens == 1:
                    _keep(self._plain, forward.ms)
            return
        for forward in drafts:
            _keep(self._drafts.setdefault(forward.layers or 0, []), forward.ms)
        for forward in step.forwards:
            if forward.purpose == "verify" and forward.layers:
                self._add_verified(forward, self._layers - forward.layers)

    def _add_verified(self, forward: Forward, depth: int) -> None:
        ms = (forward.ms - depth * self._layer_ms) / self._share_above(depth)
        _keep(self._whole.setdefault(forward.tokens, []), ms)

    def add_reading(self, tokens: int, ms: float) -> None:
        """Take in a forward that read several tokens with all layers."""
        _keep(self._read.setdefault(tokens, []), ms)

    def draft_ms(self, depth: int) -> float:
        """One token through `depth` layers, norm and head."""
        if depth in self._drafts:
            return median(self._drafts[depth])
        seen = sorted((at, median(times)) for at, times in self._drafts.items())
        head = self.head_share * self.plain_ms
        if not seen:
            return head + self._layer_ms * depth
        if len(seen) == 1:
            at, ms = seen[0]
            return min(head, ms) + max(0.0, ms - head) * depth / at
        (low, low_ms), (high, high_ms) = seen[0], seen[-1]
        layer = max(0.0, (high_ms - low_ms) / (high - low))
        return max(low_ms + layer * (depth - low), 0.0)

    def finish_ms(self, depth: int, tokens: int) -> float:
        """The layers above `depth` for `tokens` at once, and those below for the last of them."""
        return self._whole_ms(tokens) * self._share_above(depth) + depth * self._layer_ms

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

    @property
    def knows_batches(self) -> bool:
        """Whether a forward of several tokens was seen."""
        return bool(self._read or self._whole)

    def plain_rate(self) -> float:
        """Tokens a millisecond without drafts."""
        return 1 / self.plain_ms

    @property
    def _layer_ms(self) -> float:
        """A layer for one token."""
        return (1 - self.head_share) * self.plain_ms / self._layers

    def _share_above(self, depth: int) -> float:
        """Of a forward, the layers above `depth`, norm and head."""
        return self.head_share + (1 - self.head_share) * (self._layers - depth) / self._layers

    def _whole_ms(self, tokens: int) -> float:
        """All layers for `tokens` at once, a row each."""
        plain = self.plain_ms
        head = self.head_share * plain
        sizes = {
            size: max(plain, (median(times) - head) / (1 - self.head_share))
            for size, times in self._read.items()
        }
        sizes |= {size: median(times) for size, times in self._whole.items()}
        sizes[1] = plain
        below = max(size for size in sizes if size <= tokens)
        above = min((size for size in sizes if size >= tokens), default=None)
        if above == below:
            return sizes[below]
        first, last = (below, above) if above is not None else (1, below)
        slope = max(0.0, sizes[last] - sizes[first]) / max(1, last - first)
        if first == last:
            slope = plain  # nothing is known of batches: each token may cost its own forward
        return sizes[below] + slope * (tokens - below)


def _keep(times: list[float], ms: float) -> None:
    times.append(max(ms, 1e-6))
    del times[:-_KEPT]
