"""EvoPress for the blocks of a model: a set of k of n blocks is left out ("depth pruning").

A child exchanges min(a, b) blocks that are left out for blocks that are not, a and b drawn from 1
to 3 ("level switch": the number stays). The paper goes on for k (n - k) / 1.5 generations.

What is different here: whole blocks are left out; the paper's attention and feed-forward parts are
those of `half_sets.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from random import Random

from adec.calibration.compress.evopress import (
    PACE,
    Generation,
    Loss,
    Pace,
    changes_of_a_child,
    search,
)

Blocks = frozenset[int]
"""Numbers of the blocks that are left out, from 0."""

GENERATIONS_DIVISOR = 1.5


def search_blocks(
    blocks: int,
    left_out: int,
    prompts: int,
    loss: Loss[Blocks],
    rng: Random,
    *,
    pace: Pace = PACE,
    starts: Sequence[Blocks] = (),
) -> Iterator[Generation[Blocks]]:
    """`search` over sets of `left_out` of the blocks, from `starts` and random ones."""
    generations = round(left_out * (blocks - left_out) / GENERATIONS_DIVISOR)
    first = [*starts, *(random_set(blocks, left_out, rng) for _ in range(pace.starts))]
    return search(first, partial(mutated, blocks), generations, prompts, loss, rng, pace)


def mutated(blocks: int, parent: Blocks, rng: Random) -> Blocks:
    """A child of the parent, which leaves out as many."""
    return exchanged(blocks, parent, changes_of_a_child(rng), rng)


def exchanged(blocks: int, left_out: Blocks, most: int, rng: Random) -> Blocks:
    """With as many as there are, at most `most`, exchanged for others."""
    kept = sorted(set(range(blocks)) - left_out)
    count = min(most, len(left_out), len(kept))
    back = rng.sample(sorted(left_out), count)
    return (left_out - frozenset(back)) | frozenset(rng.sample(kept, count))


def random_set(blocks: int, left_out: int, rng: Random) -> Blocks:
    """Any set of so many blocks."""
    return frozenset(rng.sample(range(blocks), left_out))


def words_of(left_out: Blocks) -> str:
    """How a journal names a set."""
    return ",".join(map(str, sorted(left_out)))
