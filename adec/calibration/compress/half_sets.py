"""EvoPress for halves of blocks: k attention parts and k feed-forward parts are left out.

That is the paper's own space: a child exchanges parts that are left out for parts of the same kind
that are not, min(a, b) of them, a and b drawn from 1 to 3, and as many of each kind stay.

What is different here: each exchange draws its kind, where the paper's release mutates both kinds.
The lowest block that is left keeps its attention, without which llama.cpp cannot run it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random

from adec.calibration.compress.block_sets import (
    GENERATIONS_DIVISOR,
    Blocks,
    exchanged,
    random_set,
)
from adec.calibration.compress.evopress import (
    PACE,
    Generation,
    Loss,
    Pace,
    changes_of_a_child,
    search,
)

_TRIES = 40


@dataclass(frozen=True, slots=True)
class Halves:
    """The blocks that lack their attention, and those that lack their feed-forward part."""

    attention: Blocks = frozenset()
    feed_forward: Blocks = frozenset()

    @property
    def gone(self) -> Blocks:
        """Blocks that lack both."""
        return self.attention & self.feed_forward

    def can_run(self, blocks: int) -> bool:
        """Whether the lowest of the blocks that are left has its attention."""
        lowest = min(set(range(blocks)) - self.gone, default=None)
        return lowest is not None and lowest not in self.attention


NO_HALVES = Halves()


def search_halves(
    blocks: int,
    left_out: int,
    prompts: int,
    loss: Loss[Halves],
    rng: Random,
    *,
    pace: Pace = PACE,
    starts: Sequence[Halves] = (),
) -> Iterator[Generation[Halves]]:
    """`search` over sets of `left_out` parts of each kind, from `starts` and random ones."""
    generations = round(2 * left_out * (blocks - left_out) / GENERATIONS_DIVISOR)
    first = [*starts, *(random_halves(blocks, left_out, rng) for _ in range(pace.starts))]
    return search(first, partial(mutated_halves, blocks), generations, prompts, loss, rng, pace)


def mutated_halves(blocks: int, parent: Halves, rng: Random) -> Halves:
    """A child that can run; the parent itself where none is found."""
    for _ in range(_TRIES):
        child = parent
        for _ in range(changes_of_a_child(rng)):
            if rng.random() < 0.5:
                child = replace(child, attention=exchanged(blocks, child.attention, 1, rng))
            else:
                child = replace(child, feed_forward=exchanged(blocks, child.feed_forward, 1, rng))
        if child != parent and child.can_run(blocks):
            return child
    return parent


def random_halves(blocks: int, left_out: int, rng: Random) -> Halves:
    """Any that can run, so many of each kind; `left_out` is less than `blocks`."""
    while True:
        drawn = Halves(random_set(blocks, left_out, rng), random_set(blocks, left_out, rng))
        if drawn.can_run(blocks):
            return drawn


def words_of_halves(left_out: Halves) -> str:
    """How a journal names them, and how a person does: a3,a10,f4."""
    attention = [f"a{at}" for at in sorted(left_out.attention)]
    return ",".join([*attention, *(f"f{at}" for at in sorted(left_out.feed_forward))])


def read_halves(text: str, blocks: int) -> Halves:
    """Halves as a person names them: a3 is an attention, f4 a feed-forward part, 5 a whole block.

    Raises ValueError where some are no halves of so many blocks.
    """
    attention, feed_forward = set[int](), set[int]()
    for word in text.split(","):
        word = word.strip()
        if not word:
            continue
        kind, number = (word[0], word[1:]) if word[0] in "af" else ("", word)
        at = int(number)
        if not 0 <= at < blocks:
            raise ValueError(word)
        if kind != "f":
            attention.add(at)
        if kind != "a":
            feed_forward.add(at)
    return Halves(frozenset(attention), frozenset(feed_forward))
