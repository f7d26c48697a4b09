"""How many threads are fastest for the models of a calibration: for one token, and for several."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter

from adec.calibration.costs.cost_measuring import feed
from adec.engines.base import Engine, ModelHeader, OpenOptions
from adec.engines.opening import open_engine
from adec.engines.protocols import CanvasEngine
from adec.machine import usable_cores

BATCH = 8
"""Tokens of the batch that stands for all batches."""
CONTEXT = 128
"""Tokens that the engines which are tried out have room for."""
ROUNDS = 7
"""Measured rounds at most."""
SECONDS = 15.0
"""About the time that the choice may take; the round under way is finished."""


def counts(cores: int) -> list[int]:
    """Numbers of threads to try: powers of two below the cores, and the cores."""
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
    """The options with the number of threads that is fastest for all models together.

    They stay as they are where the user chose, or where a model is no GGUF. Engines on one GGUF
    file share its weights, so a further number of threads costs a context only. Raises
    EngineError.
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
    """Milliseconds by threads and size, summed over models; the first round does not count."""
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
                    # every forward of a diffusion model is a canvas
                    feed(engine, engine.context if isinstance(engine, CanvasEngine) else size)
                    if repeat:
                        seen.setdefault((count, size, place), []).append(1000 * (clock() - start))
    return {
        (count, size): sum(median(seen[count, size, place]) for place in range(len(opened)))
        for count, opened in engines.items()
        for size in (1, BATCH)
    }
