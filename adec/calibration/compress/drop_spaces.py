"""What may be left out of a model: whole blocks, or halves of blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Protocol

from adec.calibration.compress.block_sets import Blocks, random_set, search_blocks, words_of
from adec.calibration.compress.evopress import Candidate, Generation
from adec.calibration.compress.half_sets import (
    NO_HALVES,
    Halves,
    random_halves,
    read_halves,
    search_halves,
    words_of_halves,
)
from adec.calibration.compress.judge import Judge
from adec.calibration.compress.known_texts import (
    KnownText,
    TextLoss,
    changes,
    changes_by_halves,
    lost,
)
from adec.calibration.compress.loss_table import name_of
from adec.calibration.compress.simple_rules import (
    best_run,
    best_run_of_halves,
    least_alone,
    least_alone_by_halves,
    least_change,
    least_change_by_halves,
)
from adec.calibration.compress.smaller_model import Search
from adec.display.wording import many
from adec.engines.llama.gguf.gguf_copy import Progress, check_plain_list, write_without
from adec.engines.llama.gguf.gguf_halves import check_halves, write_halves
from adec.engines.protocols import LayerEngine
from adec.errors import UsageError

WHOLE_BLOCKS = "whole blocks (ShortGPT)"
BEST_RUN, LEAST_ALONE, LEAST_CHANGE = "best run", "least alone", "least change (ShortGPT)"
PLENTY = 12
"""From so many texts on a search has time enough for rules to look at two of them."""


class DropSpace(Protocol[Candidate]):
    """The candidates of one search, all of which make a model equally small."""

    @property
    def column(self) -> str:
        """Head of the column of what `name` says."""
        ...

    @property
    def whole(self) -> Candidate:
        """Nothing is left out."""
        ...

    @property
    def given(self) -> Candidate | None:
        """What a person chose; then nothing is searched."""
        ...

    def check(self, path: Path) -> None:
        """Raise ModelFileError where no such file can be written."""
        ...

    def search(
        self, prompts: int, judge: Judge[Candidate], rng: Random, starts: Sequence[Candidate]
    ) -> Iterator[Generation[Candidate]]:
        """Better and better candidates."""
        ...

    def draw(self, rng: Random) -> Candidate:
        """One by lot."""
        ...

    def rules(
        self, engine: LayerEngine, texts: Sequence[KnownText], fit: Judge[Candidate], search: Search
    ) -> dict[str, Candidate]:
        """What simpler rules leave out."""
        ...

    def lost(self, engine: LayerEngine, text: KnownText, left_out: Candidate) -> TextLoss:
        """What a candidate loses on a text."""
        ...

    def words(self, left_out: Candidate) -> str:
        """How a journal names it."""
        ...

    def name(self, left_out: Candidate) -> str:
        """How the table names it."""
        ...

    def kept(self, left_out: Candidate) -> str:
        """What a file without it has, as half a sentence."""
        ...

    def write(self, path: Path, to: Path, left_out: Candidate, progress: Progress) -> None:
        """Write the file. Raises ModelFileError, OSError."""
        ...


@dataclass(frozen=True)
class WholeBlocks:
    """Sets of `count` of the blocks."""

    blocks: int
    count: int
    given: Blocks | None = None
    whole: Blocks = frozenset()
    column: str = "blocks left out"

    def check(self, path: Path) -> None:
        """See `DropSpace`."""
        check_plain_list(path)

    def search(
        self, prompts: int, judge: Judge[Blocks], rng: Random, starts: Sequence[Blocks]
    ) -> Iterator[Generation[Blocks]]:
        """See `DropSpace`."""
        return search_blocks(self.blocks, self.count, prompts, judge.kl, rng, starts=starts)

    def draw(self, rng: Random) -> Blocks:
        """See `DropSpace`."""
        return random_set(self.blocks, self.count, rng)

    def rules(
        self, engine: LayerEngine, texts: Sequence[KnownText], fit: Judge[Blocks], search: Search
    ) -> dict[str, Blocks]:
        """See `DropSpace`."""
        turned = changes(engine, texts[: max(2, len(texts) // 4)])
        looked_at = range(2 if fit.texts >= PLENTY else 1)
        return {
            BEST_RUN: best_run(self.blocks, self.count, fit.texts, fit.kl),
            LEAST_ALONE: least_alone(
                self.blocks, self.count, looked_at, fit.kl,
                lambda block, _: search.tick((block + 1) / self.blocks),
            ),
            LEAST_CHANGE: least_change(turned, self.count),
        }  # fmt: skip

    def lost(self, engine: LayerEngine, text: KnownText, left_out: Blocks) -> TextLoss:
        """See `DropSpace`."""
        return lost(engine, text, left_out)

    def words(self, left_out: Blocks) -> str:
        """See `DropSpace`."""
        return words_of(left_out)

    def name(self, left_out: Blocks) -> str:
        """See `DropSpace`."""
        return name_of(left_out)

    def kept(self, left_out: Blocks) -> str:
        """See `DropSpace`."""
        return f"{many(self.blocks - len(left_out))} of {many(self.blocks)} blocks"

    def write(self, path: Path, to: Path, left_out: Blocks, progress: Progress) -> None:
        """See `DropSpace`."""
        write_without(path, to, left_out, progress)


@dataclass(frozen=True)
class HalfBlocks:
    """`count` attention and as many feed-forward parts: as small as `count` blocks less."""

    blocks: int
    count: int
    given: Halves | None = None
    whole: Halves = NO_HALVES
    column: str = "halves left out"

    def check(self, path: Path) -> None:
        """See `DropSpace`."""
        check_halves(path)

    def search(
        self, prompts: int, judge: Judge[Halves], rng: Random, starts: Sequence[Halves]
    ) -> Iterator[Generation[Halves]]:
        """See `DropSpace`."""
        return search_halves(self.blocks, self.count, prompts, judge.kl, rng, starts=starts)

    def draw(self, rng: Random) -> Halves:
        """See `DropSpace`."""
        return random_halves(self.blocks, self.count, rng)

    def rules(
        self, engine: LayerEngine, texts: Sequence[KnownText], fit: Judge[Halves], search: Search
    ) -> dict[str, Halves]:
        """See `DropSpace`. Each asks about as many forwards as that of whole blocks."""
        looked_at = 2 if fit.texts >= PLENTY else 1
        turned = changes_by_halves(engine, texts[:looked_at], search.tick)
        blocks = least_change(changes(engine, texts[: max(2, len(texts) // 4)]), self.count)
        return {
            WHOLE_BLOCKS: Halves(blocks, blocks),
            BEST_RUN: best_run_of_halves(self.blocks, self.count, fit.texts, fit.kl),
            LEAST_ALONE: least_alone_by_halves(
                self.blocks, self.count, [0], fit.kl,
                lambda block, _: search.tick((block + 1) / self.blocks),
            ),
            LEAST_CHANGE: least_change_by_halves(turned, self.count),
        }  # fmt: skip

    def lost(self, engine: LayerEngine, text: KnownText, left_out: Halves) -> TextLoss:
        """See `DropSpace`."""
        return lost(
            engine, text, (), attention=left_out.attention, feed_forward=left_out.feed_forward
        )

    def words(self, left_out: Halves) -> str:
        """See `DropSpace`."""
        return words_of_halves(left_out)

    def name(self, left_out: Halves) -> str:
        """See `DropSpace`."""
        if left_out == self.whole:
            return "none"
        kinds = name_of(left_out.attention), name_of(left_out.feed_forward)
        return f"attention {kinds[0]}; feed-forward {kinds[1]}"

    def kept(self, left_out: Halves) -> str:
        """See `DropSpace`."""
        lacks = [len(left_out.attention), len(left_out.feed_forward)]
        attention, feed_forward = (many(self.blocks - count) for count in lacks)
        blocks = many(self.blocks - len(left_out.gone))
        return f"{attention} attention and {feed_forward} feed-forward parts in {blocks} blocks"

    def write(self, path: Path, to: Path, left_out: Halves, progress: Progress) -> None:
        """See `DropSpace`."""
        write_halves(path, to, left_out.attention, left_out.feed_forward, progress)


def blocks_to_leave_out(text: str, blocks: int) -> WholeBlocks:
    """From a number of blocks, a share such as 1/8, or the blocks: 3,10,11. Raises UsageError."""
    try:
        if "," not in text:
            return WholeBlocks(blocks, _count(text, blocks))
        chosen = frozenset(int(word) for word in text.split(",") if word.strip())
        if not all(0 <= block < blocks for block in chosen):
            raise ValueError
        return WholeBlocks(blocks, _within(len(chosen), blocks), chosen)
    except (ValueError, ZeroDivisionError):
        raise UsageError(
            f"--leave-out {text[:40]!r} leaves out no 1 to {blocks - 1} of the {blocks} blocks",
            hint="a number such as 4, a share such as 1/8, or blocks such as 3,10,11",
        ) from None


def halves_to_leave_out(text: str, blocks: int) -> HalfBlocks:
    """From a number or share of each kind, or the halves: a3,a10,f4. Raises UsageError."""
    try:
        if "," not in text:
            return HalfBlocks(blocks, _count(text, blocks))
        chosen = read_halves(text, blocks)
        if chosen == NO_HALVES or not chosen.can_run(blocks):
            raise ValueError
        # what is drawn beside it leaves out about as much
        parts = len(chosen.attention) + len(chosen.feed_forward)
        return HalfBlocks(blocks, _within((parts + 1) // 2, blocks), chosen)
    except (ValueError, ZeroDivisionError):
        raise UsageError(
            f"--leave-out {text[:40]!r} leaves out no 1 to {blocks - 1} halves of each kind of the"
            f" {blocks} blocks, the lowest with its attention",
            hint="a number such as 4, a share such as 1/8, or halves such as a3,a10,f4,f11",
        ) from None


def _count(text: str, blocks: int) -> int:
    if "/" not in text:
        return _within(int(text), blocks)
    part, _, whole = text.partition("/")
    # half of a block counts as one
    return _within((2 * blocks * int(part) + int(whole)) // (2 * int(whole)), blocks)


def _within(count: int, blocks: int) -> int:
    if not 1 <= count < blocks:
        raise ValueError
    return count
