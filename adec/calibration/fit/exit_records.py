"""What a model's layers say of its own answers: states and likeliest tokens at every depth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from adec.decoding.layers.exit_classifiers import normed
from adec.engines.protocols import LayerEngine
from adec.parts.part import Array

NUMBERS = 1 << 26
"""Numbers that all kept states may have together: 256 MiB."""


@dataclass(frozen=True)
class LayerRecord:
    """One greedy answer, seen from several depths."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    states: Array
    """(tokens, depths, width), each divided by its root mean square."""
    agrees: np.ndarray[Any, np.dtype[np.bool_]]
    """(tokens, depths): whether the likeliest token there is among the model's k likeliest."""
    right: bool | None = None
    """Whether the whole answer is right, where that is known."""


def layer_records(
    engine: LayerEngine,
    prompts: Iterable[tuple[int, ...]],
    depths: Sequence[int],
    *,
    max_tokens: int,
    end: frozenset[int],
    top: int = 1,
    judge: Callable[[int, tuple[int, ...]], bool | None] = lambda index, answer: None,
) -> Iterator[LayerRecord]:
    """Answer each prompt greedily, and look at all `depths`, until the states fill `NUMBERS`.

    Prompts that leave no room in the context are left out. `judge` says of a prompt, by its index,
    whether the answer is right.
    """
    kept = 0
    for index, prompt in enumerate(prompts):
        room = min(max_tokens, engine.context - len(prompt))
        if room < 1:
            continue
        answer = greedy(engine, prompt, room, end)
        engine.rewind(0)
        if len(prompt) > 1:
            engine.forward(prompt[:-1], rows=0)
        fed = [prompt[-1], *answer[:-1]]
        engine.lower(fed, engine.info.layers)
        count = len(fed)
        final = engine.scores_at(engine.info.layers, rows=count)
        wanted = [set(final.top(row, top)) if top > 1 else {answer[row]} for row in range(count)]
        states, agrees = [], []
        for depth in depths:
            states.append(normed(engine.states_at(depth, rows=count)))
            shadow = engine.scores_at(depth, rows=count)
            agrees.append([shadow.argmax(row) in wanted[row] for row in range(count)])
        record = LayerRecord(
            tuple(prompt), answer, np.stack(states, 1), np.array(agrees).T, judge(index, answer)
        )
        kept += record.states.size
        if kept > NUMBERS:
            return
        yield record


def greedy(
    engine: LayerEngine, prompt: Sequence[int], count: int, end: frozenset[int]
) -> tuple[int, ...]:
    """The likeliest answer of at most `count` tokens, an end token included."""
    engine.rewind(0)
    answer: list[int] = []
    fed = list(prompt)
    for _ in islice(iter(int, 1), count):
        answer.append(engine.forward(fed).argmax(0))
        if answer[-1] in end:
            break
        fed = answer[-1:]
    return tuple(answer)
