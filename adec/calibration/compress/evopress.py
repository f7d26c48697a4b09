"""EvoPress: an evolutionary search for the best way to make a model smaller.

Sieberling et al. 2025, "EvoPress: Accurate Dynamic Model Compression via Evolutionary Search",
arXiv 2410.14649.

    start        the best of many candidates, judged on few prompts
    children     of the one parent, each by a small change that keeps to the budget
    selection    in stages, each on prompts drawn afresh: all children on few, those that lost
                 least on more; the parent joins the last stage, and stays unless a child is better
    fitness      KL divergence from the whole model, in nats a token

What a candidate is, and how it is changed, is in `block_sets.py` and `mixed_types.py`.

What is different here: the paper's 32 children are judged on 2,048 tokens and the best two on
32,768, which takes a GPU; `PACE` is for minutes on a processor. What was measured of a candidate on
a prompt is never measured again, so a parent that stays costs nothing. Starts may be given, such as
those of simpler rules, which a short search then starts from.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Generic, TypeVar

Candidate = TypeVar("Candidate", bound=Hashable)

Loss = Callable[[Candidate, Sequence[int]], float]
"""What a candidate loses on some prompts, by number: nats a token. Raises `OutOfTime`."""

Mutate = Callable[[Candidate, Random], Candidate]
"""A child."""

MOST_CHANGED = 3
"""A child differs by min(a, b) changes, a and b drawn from 1 to this."""


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
    """Random candidates among which the first parent is chosen, on as many prompts as the first
    stage."""
    children: int
    stages: tuple[Stage, ...]


PAPER = Pace(64, 32, (Stage(1, 2), Stage(16, 1)))
"""The paper's numbers for blocks, where a prompt stands for 2,048 tokens."""
PACE = Pace(16, 8, (Stage(1, 2), Stage(6, 1)))
"""For minutes on a processor."""


@dataclass(frozen=True, slots=True)
class Generation(Generic[Candidate]):
    """What the search holds so far."""

    number: int
    """0 is the start."""
    of: int
    parent: Candidate


def search(
    starts: Sequence[Candidate],
    mutate: Mutate[Candidate],
    generations: int,
    prompts: int,
    loss: Loss[Candidate],
    rng: Random,
    pace: Pace = PACE,
) -> Iterator[Generation[Candidate]]:
    """Yield the parent of each generation; ends early where `loss` raises `OutOfTime`.

    `prompts`: how many there are to judge on. With the same `rng` and losses it goes the same way.
    """
    try:
        some = _drawn(prompts, pace.stages[0].prompts, rng)
        parent = min(dict.fromkeys(starts), key=lambda one: loss(one, some))
        yield Generation(0, generations, parent)
        for number in range(1, generations + 1):
            parent = select(parent, mutate, prompts, loss, rng, pace)
            yield Generation(number, generations, parent)
    except OutOfTime:
        return


def select(
    parent: Candidate,
    mutate: Mutate[Candidate],
    prompts: int,
    loss: Loss[Candidate],
    rng: Random,
    pace: Pace,
) -> Candidate:
    """The parent of the next generation."""
    living = _children(parent, mutate, rng, pace.children)
    for place, stage in enumerate(pace.stages):
        if place == len(pace.stages) - 1:
            living.append(parent)
        some = _drawn(prompts, stage.prompts, rng)
        living = sorted(living, key=lambda one: loss(one, some))[: stage.survivors]
    return living[0]


def changes_of_a_child(rng: Random) -> int:
    """How many changes a child differs by: mostly one."""
    return min(rng.randint(1, MOST_CHANGED), rng.randint(1, MOST_CHANGED))


def _children(
    parent: Candidate, mutate: Mutate[Candidate], rng: Random, count: int
) -> list[Candidate]:
    """Different ones, as many as can be had without searching long."""
    children: dict[Candidate, None] = {}
    for _ in range(4 * count):
        if len(children) == count:
            break
        children[mutate(parent, rng)] = None
    return list(children)


def _drawn(prompts: int, count: int, rng: Random) -> list[int]:
    return rng.sample(range(prompts), min(count, prompts))
