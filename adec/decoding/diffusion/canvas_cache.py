"""Which positions a forward computes anew, and which of the open ones a rule may choose from.

A cache is chosen by a setting and goes with every rule. `fresh_cache` makes one for an answer.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Protocol

from adec.decoding.diffusion.canvas_answer import CanvasAnswer
from adec.decoding.diffusion.dkv_cache import DelayedCache, GreedyCache, PromptCache


class CanvasCache(Protocol):
    """What a forward of an answer computes; one object an answer."""

    def plan(
        self, answer: CanvasAnswer, places: Sequence[int], filled: Set[int]
    ) -> tuple[Sequence[int], Sequence[int] | None]:
        """The open places to score, at least one of them, and the positions to compute.

        None: all of them. `places` are the open ones, `filled` those that the forward before
        filled.
        """
        ...


class NoCache:
    """Every forward computes the whole canvas."""

    def plan(
        self, answer: CanvasAnswer, places: Sequence[int], filled: Set[int]
    ) -> tuple[Sequence[int], Sequence[int] | None]:
        """See `CanvasCache.plan`."""
        return places, None


class BlockCache:
    """Fast-dLLM's (arXiv 2505.22618): after one forward of the whole canvas for each block,
    "dual" computes the block alone, "prefix" the block and all that follows it."""

    def __init__(self, *, dual: bool) -> None:
        self._dual = dual
        self._block = -1

    def plan(
        self, answer: CanvasAnswer, places: Sequence[int], filled: Set[int]
    ) -> tuple[Sequence[int], Sequence[int] | None]:
        """See `CanvasCache.plan`."""
        block = answer.first
        if block != self._block:
            self._block = block
            return places, None
        end = answer.block_end if self._dual else len(answer.canvas)
        return [place for place in places if place < end], range(block, end)


def fresh_cache(name: str, *, refresh: int, window: int) -> CanvasCache:
    """The cache of that name, empty. `refresh` and `window` are settings of dKV-Cache."""
    match name:
        case "prefix" | "dual":
            return BlockCache(dual=name == "dual")
        case "prompt":
            return PromptCache()
        case "delayed":
            return DelayedCache(refresh)
        case "greedy":
            return GreedyCache(refresh, window)
        case _:
            return NoCache()
