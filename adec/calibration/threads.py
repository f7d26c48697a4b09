"""How many threads are fastest here: for one token, and for several at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter

from adec.engines.base import Engine, ModelHeader, OpenOptions
from adec.engines.opening import open_engine
from adec.machine import usable_cores

BATCH = 8
"""Tokens of the batch that stands for all batches."""
CONTEXT = 128
ROUNDS = 7
SECONDS = 15.0
"""Time that the choice may take: about; the round under way is finished."""


def counts(cores: int) -> list[int]:
    """Numbers of threads worth trying: powers of two below the cores, and the cores."""
    found = {cores}
    power = 1
    while power < cores:
        found.add(power)
        power *= 2
    return sorted(found)


def choose_threads(
    headers: Sequence[ModelHeader],
    options: OpenOptions,
    tick: Callable[[float], None] = lambda share: None,
    clock: Callable[[], float] = perf_counter,
) -> OpenOptions:
    """The options with the fastest threads for all models together; as they are where the user chose or a model is no GGUF.

    Engines on one GGUF file share its weights, so every number of threads costs a context only. Raises EngineError.
    """
    given = options.threads is not None or options.batch_threads is not None
    tried = counts(usable_cores())
    if given or len(tried) < 2 or any(header.info.format != "gguf" for header in headers):
        return options
    engines: dict[int, list[Engine]] = {}
    try:
        for count in tried:
            engines[count] = [open_engine(h, _with(h, options, count)) for h in headers]
        took = _measure(engines, tick, clock)
    finally:
        for opened in engines.values():
            for engine in opened:
                engine.close()
    single, several = (min(tried, key=lambda n: took[n, size]) for size in (1, BATCH))
    return dataclasses.replace(options, threads=single, batch_threads=several)


def _with(header: ModelHeader, options: OpenOptions, count: int) -> OpenOptions:
    context = min(CONTEXT, header.info.context_limit)
    return dataclasses.replace(options, threads=count, batch_threads=count, context=context)


def _measure(
    engines: dict[int, list[Engine]], tick: Callable[[float], None], clock: Callable[[], float]
) -> dict[tuple[int, int], float]:
    """Milliseconds by threads and size, summed over models; all interleaved, the first round not counted."""
    seen: dict[tuple[int, int, int], list[float]] = {}
    began = clock()
    for repeat in range(ROUNDS + 1):
        if repeat > 1 and clock() - began > SECONDS:
            break
        tick(repeat / (ROUNDS + 1))
        for count, opened in engines.items():
            for place, engine in enumerate(opened):
                for size in (1, BATCH):
                    engine.rewind(0)
                    start = clock()
                    engine.forward([0] * size, rows=size)
                    if repeat:
                        seen.setdefault((count, size, place), []).append(1000 * (clock() - start))
    return {
        (count, size): sum(median(seen[count, size, place]) for place in range(len(opened)))
        for count, opened in engines.items()
        for size in (1, BATCH)
    }
