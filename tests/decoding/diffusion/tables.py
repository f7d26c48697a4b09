"""Random canvas models, and the ways to run a strategy on them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

from adec.decoding.registry import METHODS
from adec.decoding.strategy import Aids, Limits, Strategy
from adec.engines.pair import Engines
from adec.engines.table_canvas import TableCanvas
from adec.events.records import CanvasRecord, Step
from tests.laws import prompt_of

SIZE = 8
END, MASK = SIZE - 2, SIZE - 1
Law = Callable[[tuple[int, ...], int], Sequence[float]]


def law(seed: int, end: float = 0.2, sharp: float = 3.0, sway: float = 1.0) -> Law:
    """A law that depends on the whole canvas; an end token is likely by `end` of the others.

    `sharp`: how unlike the probabilities are. `sway`: the share of a position's preferences that
    hangs on what else stands; the rest is its own.
    """

    def distribution(canvas: tuple[int, ...], place: int) -> Sequence[float]:
        rng, own = random.Random(f"{seed} {canvas} {place}"), random.Random(f"{seed} {place}")
        weights = [
            math.exp(sharp * (sway * rng.random() + (1 - sway) * own.random())) for _ in range(SIZE)
        ]
        weights[END] *= end
        weights[MASK] = 0.0
        return [weight / sum(weights) for weight in weights]

    return distribution


def canvas_strategy(name: str, engine: TableCanvas, **settings: Any) -> Strategy:
    """The strategy of that name on a table."""
    method = METHODS[name]
    return method.build(Engines(large=engine), method.settings(**settings), Aids())


def steps_of(strategy: Strategy, prompt: list[int], limits: Limits) -> list[Step]:
    return list(strategy.generate(prompt_of(prompt), limits))


def answer_of(steps: Sequence[Step]) -> list[int]:
    return [token.id for step in steps for token in step.tokens]


def filled_in(step: Step) -> list[int]:
    """The positions that a step filled, counted from the beginning of the answer."""
    assert isinstance(step.detail, CanvasRecord)
    return [token.position for token in step.detail.filled if token.position is not None]
