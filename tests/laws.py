"""Random but repeatable next-token laws for the table engine."""

from __future__ import annotations

import random
from collections.abc import Iterable

from adec.decoding.strategy import Prompt
from adec.engines.table import TableEngine


def law(size: int, seed: int, *, sharpness: float = 3.0, order: int = 3):
    """A law that depends on the last `order` tokens; higher `sharpness` means lower entropy."""

    def distribution(prefix: tuple[int, ...]) -> list[float]:
        rng = random.Random(f"{seed} {prefix[-order:]}")
        weights = [rng.random() ** sharpness for _ in range(size)]
        return [weight / sum(weights) for weight in weights]

    return distribution


def blend(first, second, share: float):
    """`share` of the first law, the rest of the second: a small model like a large one."""

    def distribution(prefix: tuple[int, ...]) -> list[float]:
        pairs = zip(first(prefix), second(prefix), strict=True)
        return [share * a + (1 - share) * b for a, b in pairs]

    return distribution


def pair(seed: int = 0, *, size: int = 6, likeness: float = 0.7, context: int = 4096):
    """(small, large) table engines that agree in part."""
    target = law(size, seed)
    draft = blend(target, law(size, seed + 1000), likeness)
    return (
        TableEngine(draft, size=size, name="small", context=context),
        TableEngine(target, size=size, name="large", context=context),
    )


def prompt_of(ids: Iterable[int]) -> Prompt:
    """The prompt of these ids."""
    return Prompt(tuple(ids))
