"""dKV-Cache: keys and values of a position are kept from one forward after it was filled.

X. Ma and others, "dKV-Cache: The Cache for Diffusion Language Models", 2025, arXiv 2505.15781.

Keys and values of a position change most when its mask turns into a token, and little afterwards.
So they are kept once a forward has had the token itself as its input, one forward late, and
all are computed anew in every n-th forward of a block (dKV-Cache-Decode, n = 8 for LLaDA and 4 for
Dream; the first two of a block are whole, too). The greedy variant also leaves out most masks, and
the prefill variant keeps the prompt for good.

What is different here: they are settings that go with every rule (`cache=delayed`, `greedy`,
`prompt`). The paper's greedy variant needs an order that is drawn before decoding. Here a rule that
adapts chooses among the masks of the window, which lie alternately left and right of what was
filled last. Where a model's rows are shifted, the row before a mask is computed with it (the
paper's "un-shift"), and not kept. The paper's authors say that at batch one this need not pay.
"""

from __future__ import annotations

from collections.abc import Sequence, Set

from adec.decoding.diffusion.canvas_answer import CanvasAnswer

WHOLE_AT_FIRST = 2
"""Forwards at the beginning of a block that compute everything."""


class PromptCache:
    """The prompt is read once, the rest in every forward (dKV-Cache-Prefill)."""

    def __init__(self) -> None:
        self._begun = False

    def plan(
        self, answer: CanvasAnswer, places: Sequence[int], filled: Set[int]
    ) -> tuple[Sequence[int], Sequence[int] | None]:
        """See `CanvasCache.plan`."""
        begun, self._begun = self._begun, True
        return places, range(answer.start, len(answer.canvas)) if begun else None


class DelayedCache:
    """All but the masks and what the forward before filled is kept (dKV-Cache-Decode)."""

    def __init__(self, refresh: int) -> None:
        self._refresh = refresh
        self._block, self._step, self._length = -1, 0, 0

    def plan(
        self, answer: CanvasAnswer, places: Sequence[int], filled: Set[int]
    ) -> tuple[Sequence[int], Sequence[int] | None]:
        """See `CanvasCache.plan`."""
        if self._whole(answer):
            return places, None
        return places, sorted(answer.masked() | _inside(filled, answer))

    def _whole(self, answer: CanvasAnswer) -> bool:
        """Whether the next forward computes everything."""
        if answer.first != self._block or len(answer.canvas) > self._length:
            self._block, self._step = answer.first, 0
        self._length = len(answer.canvas)
        step, self._step = self._step, self._step + 1
        return step < WHOLE_AT_FIRST or step % self._refresh == 0


class GreedyCache(DelayedCache):
    """Of the masks, too, only some beside what was filled last (dKV-Cache-Greedy)."""

    def __init__(self, refresh: int, window: int) -> None:
        super().__init__(refresh)
        self._window = window

    def plan(
        self, answer: CanvasAnswer, places: Sequence[int], filled: Set[int]
    ) -> tuple[Sequence[int], Sequence[int] | None]:
        """See `CanvasCache.plan`."""
        if self._whole(answer):
            return places, None
        near = beside(places, filled, self._window)
        return near, sorted({*near, *_inside(filled, answer)})


def beside(places: Sequence[int], filled: Set[int], window: int) -> list[int]:
    """As many of `places` as `window`, those nearest to one of `filled`, of equals the right one.

    Without any filled, the leftmost.
    """

    def distance(place: int) -> tuple[int, int]:
        return min(((abs(place - other), place < other) for other in filled), default=(place, 0))

    return sorted(sorted(places, key=distance)[:window])


def _inside(filled: Set[int], answer: CanvasAnswer) -> set[int]:
    return {place for place in filled if place < len(answer.canvas)}
