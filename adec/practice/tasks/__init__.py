"""Seeded problems with checkable answers, in a train and a test split that do not overlap."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from types import MappingProxyType

from adec.practice.tasks import functions, lists, lookups, sentences, word_problems
from adec.practice.tasks.problem import Problem, Split

__all__ = ["FAMILIES", "MIX", "TRAINING", "Problem", "Split", "problems"]

FAMILIES: Mapping[str, Callable[[Random], Problem]] = MappingProxyType({
    module.FAMILY: module.make for module in (word_problems, lists, functions, lookups)
})  # fmt: skip
# what training reads instead
TRAINING: Mapping[str, Callable[[Random], Problem]] = MappingProxyType(
    {**FAMILIES, sentences.FAMILY: sentences.make}
)

# shares of the families in a stream of all
MIX: Mapping[str, float] = MappingProxyType(
    {word_problems.FAMILY: 0.26, lists.FAMILY: 0.44, functions.FAMILY: 0.17, lookups.FAMILY: 0.13}
)


def problems(
    split: Split,
    seed: int,
    families: Sequence[str] | None = None,
    mix: Mapping[str, float] = MIX,
    makers: Mapping[str, Callable[[Random], Problem]] = FAMILIES,
) -> Iterator[Problem]:
    """An endless stream of problems of one split; the same arguments give the same stream.

    A stream of the test split does not repeat a problem. Raises ValueError for an unknown family.
    """
    names = tuple(mix) if families is None else tuple(families)
    unknown = [name for name in names if name not in makers]
    if unknown or not names:
        known = ", ".join(makers)
        raise ValueError(f"unknown task family {', '.join(unknown) or '(none)'}; known: {known}")
    weights = [mix[name] for name in names]
    rng = Random(f"{split} {seed}")
    seen: set[str] = set()
    while True:
        (name,) = rng.choices(names, weights)
        problem = makers[name](rng)
        if problem.split != split:
            continue
        if split == "test":
            key = f"{problem.family}/{problem.kind}/{problem.key}"
            if key in seen:
                continue
            seen.add(key)
        yield problem
