"""EvoPress: which blocks of a model to leave out, by an evolutionary search.

Sieberling et al. 2025, "EvoPress: Accurate Dynamic Model Compression via Evolutionary Search",
arXiv 2410.14649, for the blocks of a model ("depth pruning"). A set of k of n blocks is left out.

    start        the best of many sets, judged on few prompts
    children     of the one parent: a child exchanges min(a, b) blocks that are left out for blocks
                 that are not, a and b drawn from 1 to 3 ("level switch": the number stays)
    selection    in stages, each on prompts drawn afresh: all children on few, those that lost
                 least on more; the parent joins the last stage, and stays unless a child is better
    fitness      KL divergence of what is left from the whole model, in nats a token
    generations  k (n - k) / 1.5

What is different here: the paper's 32 children are judged on 2,048 tokens and the best two on
32,768, which takes a GPU; `PACE` is for minutes on a processor. What was measured of a set on a
prompt is never measured again, so a parent that stays costs nothing. Starts may be given, such as
those of simpler rules, which a short search then starts from. The search leaves out whole blocks,
since a file cannot lack half of one; the paper drops attention and feed-forward parts one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

Blocks = frozenset[int]
"""Numbers of the blocks that are left out, from 0."""

Loss = Callable[[Blocks, Sequence[int]], float]
"""What a set loses on some prompts, by number: nats a token. Raises `OutOfTime`."""

MOST_EXCHANGED = 3
GENERATIONS_DIVISOR = 1.5


class OutOfTime(Exception):
    """The time that the search may take is over."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of a selection."""

    prompts: int
    """How many it is judged on."""
    survivors: int


@dataclass(frozen=True, slots=True)
class Pace:
    """How thorough a search is."""

    starts: int
    """Random sets among which the first parent is chosen, on as many prompts as the first stage."""
    children: int
    stages: tuple[Stage, ...]


PAPER = Pace(64, 32, (Stage(1, 2), Stage(16, 1)))
"""The paper's numbers, where a prompt stands for 2,048 tokens."""
PACE = Pace(16, 8, (Stage(1, 2), Stage(6, 1)))
"""For minutes on a processor."""


@dataclass(frozen=True, slots=True)
class Generation:
    """What the search holds so far."""

    number: int
    """0 is the start."""
    of: int
    parent: Blocks


def search(
    blocks: int,
    left_out: int,
    prompts: int,
    loss: Loss,
    rng: Random,
    *,
    pace: Pace = PACE,
    starts: Sequence[Blocks] = (),
) -> Iterator[Generation]:
    """Yield the parent of each generation; ends early where `loss` raises `OutOfTime`.

    `prompts`: how many there are to judge on. With the same `rng` and losses it goes the same way.
    """
    count = round(left_out * (blocks - left_out) / GENERATIONS_DIVISOR)
    first = [*starts, *(random_set(blocks, left_out, rng) for _ in range(pace.starts))]
    try:
        some = _drawn(prompts, pace.stages[0].prompts, rng)
        parent = min(dict.fromkeys(first), key=lambda one: loss(one, some))
        yield Generation(0, count, parent)
        for number in range(1, count + 1):
            parent = select(parent, blocks, prompts, loss, rng, pace)
            yield Generation(number, count, parent)
    except OutOfTime:
        return


def select(
    parent: Blocks, blocks: int, prompts: int, loss: Loss, rng: Random, pace: Pace
) -> Blocks:
    """The parent of the next generation."""
    living = _children(parent, blocks, rng, pace.children)
    for place, stage in enumerate(pace.stages):
        if place == len(pace.stages) - 1:
            living.append(parent)
        some = _drawn(prompts, stage.prompts, rng)
        living = sorted(living, key=lambda one: loss(one, some))[: stage.survivors]
    return living[0]


def mutated(parent: Blocks, blocks: int, rng: Random) -> Blocks:
    """A child of the parent, which leaves out as many."""
    exchanged = min(rng.randint(1, MOST_EXCHANGED), rng.randint(1, MOST_EXCHANGED))
    kept = sorted(set(range(blocks)) - parent)
    exchanged = min(exchanged, len(parent), len(kept))
    back = rng.sample(sorted(parent), exchanged)
    return (parent - frozenset(back)) | frozenset(rng.sample(kept, exchanged))


def random_set(blocks: int, left_out: int, rng: Random) -> Blocks:
    """Any set of so many blocks."""
    return frozenset(rng.sample(range(blocks), left_out))


def _children(parent: Blocks, blocks: int, rng: Random, count: int) -> list[Blocks]:
    """Different ones, as many as can be had without searching long."""
    children: dict[Blocks, None] = {}
    for _ in range(4 * count):
        if len(children) == count:
            break
        children[mutated(parent, blocks, rng)] = None
    return list(children)


def _drawn(prompts: int, count: int, rng: Random) -> list[int]:
    return rng.sample(range(prompts), min(count, prompts))
