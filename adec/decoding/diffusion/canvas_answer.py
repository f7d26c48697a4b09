"""One answer on a canvas: which positions are open, which stand, and where it ends.

A canvas is the prompt and masks after it. Blocks of masks are filled from left to right; all of
them are seen. An end token that stands cuts off what lies behind it, so that a canvas that is too
long costs nothing from then on; one that turns out to be too short grows by a block.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy

from msgspec.structs import replace

from adec.decoding.strategy import Limits, Prompt
from adec.events.records import CanvasRecord, Token


class CanvasAnswer:
    """A canvas that is filled; positions count from the beginning of the prompt here."""

    def __init__(
        self, prompt: Prompt, limits: Limits, *, mask: int, context: int, length: int, block: int
    ) -> None:
        """`length`: masks to begin with; `context`: positions that the engine can hold."""
        self.start = len(prompt.ids)
        self._mask = mask
        self._context = context
        self._block = block
        self._end = limits.end
        # it cuts the answer, and changes nothing before: the last block is filled as any other
        self._last = min(self.start + limits.max_tokens, context)
        self.canvas = [*prompt.ids, *[mask] * min(length, context - self.start)]
        self._filled: dict[int, Token] = {}
        self._stands = self.start
        self._ended = False

    @property
    def done(self) -> bool:
        """Whether an end token stands and all before it, or no more may be filled."""
        return self._ended or self._stands >= self._last

    @property
    def first(self) -> int:
        """Where the block at work begins."""
        return self.start + (self._stands - self.start) // self._block * self._block

    @property
    def block_end(self) -> int:
        """Where the block at work ends."""
        return min(self.first + self._block, len(self.canvas))

    @property
    def share_filled(self) -> float:
        """The share of the canvas that stands, 0 to 1."""
        return 1 - len(self.masked()) / max(1, len(self.canvas) - self.start)

    def masked(self) -> set[int]:
        """All masked positions, of any block."""
        return {at for at in range(self.start, len(self.canvas)) if self.canvas[at] == self._mask}

    def fork(self) -> CanvasAnswer:
        """A copy that can be filled on trial."""
        twin = copy(self)
        twin.canvas, twin._filled = self.canvas.copy(), self._filled.copy()
        return twin

    def open_places(self) -> list[int]:
        """The masked positions of the block at work, at least one; the canvas grows if it must."""
        if self._stands >= len(self.canvas):
            self.canvas += [self._mask] * min(self._block, self._context - len(self.canvas))
        return [at for at in range(self._stands, self.block_end) if self.canvas[at] == self._mask]

    def fill(self, tokens: Mapping[int, Token]) -> tuple[tuple[Token, ...], CanvasRecord]:
        """Let tokens stand at open positions.

        Returns those that all positions before them have now reached, in order, and the record of
        what was filled.
        """
        kept: list[Token] = []
        for place in sorted(tokens):
            token = tokens[place]
            self.canvas[place] = token.id
            self._filled[place] = token
            kept.append(replace(token, position=place - self.start))
            if token.id in self._end:
                del self.canvas[place + 1 :]
                break
        reached: list[Token] = []
        while not self.done and self._stands < len(self.canvas) and self._stands in self._filled:
            reached.append(self._filled[self._stands])
            self._ended = reached[-1].id in self._end
            self._stands += 1
        masked = sum(token == self._mask for token in self.canvas[self.start :])
        record = CanvasRecord(tuple(kept), masked, len(self.canvas) - self.start)
        return tuple(reached), record
