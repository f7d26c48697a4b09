"""EvoPress for quantisation: each tensor has a type of its own, and the file a size.

A child raises the types of min(a, b) tensors by one, a and b drawn from 1 to 3, and lowers those of
others, drawn at random, until the file is small enough again. It is drawn anew where more than ten
had to be lowered, or where what it gained is less than four fifths of what it gave up.

What is different here: the paper chooses among GPTQ weights of 2 to 6 bits; here the types are
those of llama.cpp, each tensor quantised beforehand by llama.cpp without an importance matrix.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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

Types = tuple[int, ...]
"""By tensor, the number of its type among those that it may have, from 0 for the smallest."""

MOST_LOWERED = 10
LEAST_GAINED = 0.8
GENERATIONS = 150
_TRIES = 40
_STEPS_OF_A_START = 30


@dataclass(frozen=True)
class Choices:
    """What each tensor may take, and all together."""

    sizes: tuple[tuple[int, ...], ...]
    """Bytes, by tensor and by type, rising."""
    budget: int
    """Bytes of all of these tensors at most."""

    def size(self, types: Types) -> int:
        """Bytes of the tensors."""
        return sum(sizes[kind] for sizes, kind in zip(self.sizes, types, strict=True))

    @property
    def smallest(self) -> int:
        """Bytes where every tensor has its smallest type."""
        return sum(sizes[0] for sizes in self.sizes)


def search_types(
    choices: Choices,
    prompts: int,
    loss: Loss[Types],
    rng: Random,
    *,
    pace: Pace = PACE,
    starts: Sequence[Types] = (),
) -> Iterator[Generation[Types]]:
    """`search` over types that fit the budget, from `starts`, an even choice, and random ones."""
    first = [*starts, even(choices)]
    first += [random_types(choices, rng) for _ in range(pace.starts // 4)]
    return search(first, partial(mutated, choices), GENERATIONS, prompts, loss, rng, pace)


def mutated(choices: Choices, parent: Types, rng: Random) -> Types:
    """A child that fits the budget; the parent itself where none can be found."""
    for _ in range(_TRIES):
        child = list(parent)
        raisable = [at for at, kind in enumerate(parent) if kind + 1 < len(choices.sizes[at])]
        raised = rng.sample(raisable, min(changes_of_a_child(rng), len(raisable)))
        for at in raised:
            child[at] += 1
        gained = choices.size(tuple(child)) - choices.size(parent)
        lowered = given = 0
        over = choices.size(tuple(child)) - choices.budget
        others = [at for at, kind in enumerate(parent) if kind and at not in raised]
        while given < over and others and lowered < MOST_LOWERED:
            at = rng.choice(others)
            given += choices.sizes[at][child[at]] - choices.sizes[at][child[at] - 1]
            child[at] -= 1
            lowered += 1
            if not child[at]:
                others.remove(at)
        if raised and given >= over and gained >= LEAST_GAINED * given:
            return tuple(child)
    return parent


def even(choices: Choices) -> Types:
    """All tensors as high as the budget allows, then one after another a type higher."""
    return _filled(choices, range(len(choices.sizes)))


def random_types(choices: Choices, rng: Random) -> Types:
    """As `even` with the tensors in any order, and then changed at random."""
    order = list(range(len(choices.sizes)))
    rng.shuffle(order)
    types = _filled(choices, order)
    for _ in range(_STEPS_OF_A_START):
        types = mutated(choices, types, rng)
    return types


def _filled(choices: Choices, order: Sequence[int]) -> Types:
    types = [0] * len(choices.sizes)
    left = choices.budget - choices.smallest
    grew = True
    while grew:
        grew = False
        for at in order:
            sizes, kind = choices.sizes[at], types[at]
            if kind + 1 < len(sizes) and sizes[kind + 1] - sizes[kind] <= left:
                left -= sizes[kind + 1] - sizes[kind]
                types[at] += 1
                grew = True
    return tuple(types)
