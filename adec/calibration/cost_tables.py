"""Milliseconds of a forward of n tokens, for each model and several context lengths.

Sizes and models are interleaved, so that a slow moment hits all alike. One token is measured after
one token, as in decoding. A cell is the median of its forwards; it is measured until the median is
known within a few percent, or the time is up. The spread is that of the median: 1.2533 sigma /
sqrt(n), with sigma from the median absolute deviation, which a few outliers do not move.

`choose_threads` finds how many threads are fastest, for one token and for several at once.
"""

from __future__ import annotations

import dataclasses
import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter

from adec.decoding.pair.clock.cost_curve import CostCurve
from adec.engines.base import Engine, ModelHeader, OpenOptions
from adec.engines.opening import open_engine
from adec.engines.protocols import CanvasEngine
from adec.events.records import Role
from adec.machine import usable_cores

LARGE_SIZES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 15, 16, 17, 20, 24, 28, 31, 32, 33, 48, 64)
"""Tokens of the forwards measured: dense where kernels have their steps (about 4, 8, 16 and 32),
sparse beyond."""
"""Tokens of a forward of the large model: up to the largest tree that is worth its own time."""
SMALL_SIZES = (1, 2, 4, 8, 16)
"""Tokens of a forward of the small model: it drafts one by one, and catches up on a few."""
CONTEXTS = (1024, 256, 16)
"""Tokens before the forward, longest first: the sequence is then read once and only cut."""
ENOUGH = 0.03
"""Spread of a median at which a cell is done, as a share of it."""
LEAST, MOST = 5, 40
"""Forwards of a cell."""
OUTLIER = 14.8
"""Modified z-score from which a time is called an outlier (hyperfine's threshold)."""
WORTH = 0.05
"""A batch is useful while doubling it still saves this share of the time per token."""
CANVAS_SIZES = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""Positions of the canvases of a diffusion model that are measured, the prompt among them."""
SCORED = 32
"""Positions of them that are scored: a block of masks."""
READING = 0.25
"""Share of the measuring time that reading up to a context length may take; longer ones are left
out."""


@dataclass(frozen=True)
class Cell:
    """One size at one context length."""

    ms: float
    spread: float
    """Milliseconds: how far the median may be off, one standard error."""
    count: int
    outliers: int = 0


@dataclass
class CostTable:
    """Cells of one model: context length to size to cell."""

    cells: dict[int, dict[int, Cell]] = field(default_factory=dict)
    _curves: dict[int, CostCurve] = field(default_factory=dict, repr=False, compare=False)

    def curve(self, context: int) -> CostCurve:
        """The curve at the measured context length nearest to `context`.

        Raises ValueError when nothing was measured.
        """
        if not self.cells:
            raise ValueError("no costs were measured")
        nearest = min(self.cells, key=lambda known: abs(known - context))
        column = self.cells[nearest]
        return CostCurve({size: cell.ms for size, cell in column.items()})

    def ms(self, size: int, context: int) -> float:
        """Cost of a forward of `size` tokens after `context` tokens, linear between the columns."""
        if len(self._curves) != len(self.cells):
            self._curves = {known: self.curve(known) for known in sorted(self.cells)}
        known = list(self._curves)
        place = bisect_left(known, context)
        if place in (0, len(known)):
            return self._curves[known[min(place, len(known) - 1)]].ms(size)
        low, high = known[place - 1], known[place]
        share = (context - low) / (high - low)
        return (1 - share) * self._curves[low].ms(size) + share * self._curves[high].ms(size)

    @property
    def outliers(self) -> float:
        """Share of forwards that were far from their median."""
        cells = [cell for column in self.cells.values() for cell in column.values()]
        return sum(cell.outliers for cell in cells) / max(1, sum(cell.count for cell in cells))

    @property
    def spread(self) -> float:
        """Median over cells of the spread as a share of the cell's time."""
        cells = [cell for column in self.cells.values() for cell in column.values()]
        return median(cell.spread / cell.ms for cell in cells if cell.ms > 0) if cells else 0.0


def largest_useful(curve: CostCurve, most: int) -> int:
    """The size past which a larger batch no longer makes a token cheaper."""
    size = 1
    while (
        2 * size <= most and curve.ms(2 * size) / (2 * size) < (1 - WORTH) * curve.ms(size) / size
    ):
        size *= 2
    return size


def measure_costs(
    engines: Mapping[Role, Engine],
    *,
    seconds: float,
    tick: Callable[[float], None] = lambda share: None,
    clock: Callable[[], float] = perf_counter,
) -> dict[Role, CostTable]:
    """Cost tables of the engines, in about `seconds`; every cell is measured at least once.

    The sequences are empty afterwards. `tick` gets the share of the time that is used. Raises
    EngineError.
    """
    began = clock()
    tables: dict[Role, CostTable] = {role: CostTable() for role in engines}
    canvas = any(isinstance(engine, CanvasEngine) for engine in engines.values())
    # a canvas is computed whole: nothing precedes it
    contexts = [0] if canvas else _affordable(engines, seconds, clock)
    room = min(engine.context for engine in engines.values())
    large = ([n for n in CANVAS_SIZES if n <= room] or [room]) if canvas else LARGE_SIZES
    for place, context in enumerate(contexts):
        until = began + seconds * (place + 1) / len(contexts)
        cells = [
            (role, size)
            for role, engine in engines.items()
            for size in (large if role == "large" else SMALL_SIZES)
            if context + size <= engine.context
        ]
        seen = _measure_column(engines, cells, context, until, began, seconds, tick, clock)
        for (role, size), values in seen.items():
            tables[role].cells.setdefault(context, {})[size] = cell_of(values)
    for engine in engines.values():
        engine.rewind(0)
    return tables


def cell_of(values: Sequence[float]) -> Cell:
    """The cell that some times in milliseconds make."""
    middle = median(values)
    deviation = median(abs(value - middle) for value in values)
    sigma = 1.4826 * deviation
    spread = 1.2533 * sigma / math.sqrt(len(values))
    far = [value for value in values if deviation > 0 and abs(value - middle) > OUTLIER * sigma]
    return Cell(middle, spread, len(values), len(far))


def _measure_column(
    engines: Mapping[Role, Engine],
    cells: Sequence[tuple[Role, int]],
    context: int,
    until: float,
    began: float,
    seconds: float,
    tick: Callable[[float], None],
    clock: Callable[[], float],
) -> dict[tuple[Role, int], list[float]]:
    for engine in engines.values():
        _stand_at(engine, context)
    seen: dict[tuple[Role, int], list[float]] = {cell: [] for cell in cells}
    for repeat in range(MOST):
        open_ = [cell for cell in cells if not _settled(seen[cell])]
        if repeat:
            limit = _worth_measuring(seen)
            open_ = [cell for cell in open_ if cell[1] <= limit]
        for role, size in open_:
            if repeat and clock() > until:
                return seen
            engine = engines[role]
            if size == 1:
                # in decoding one token follows another; behind a batch the backend sets up anew,
                # which takes longer
                engine.forward([0])
                _stand_at(engine, context)
            start = clock()
            _feed(engine, size)
            took = 1000 * (clock() - start)
            _stand_at(engine, context)
            seen[role, size].append(took)
            tick(min(1.0, (clock() - began) / max(seconds, 1e-9)))
        if not open_:
            break
    return seen


def _feed(engine: Engine, size: int) -> None:
    """A forward of so many tokens: the next ones, or a canvas."""
    if isinstance(engine, CanvasEngine):
        engine.canvas_scores([engine.mask] * size, positions=range(min(size, SCORED)))
    else:
        engine.forward([0] * size, rows=size)


def _worth_measuring(seen: Mapping[tuple[Role, int], Sequence[float]]) -> int:
    """The size up to which a slow machine's time goes: twice the largest useful batch of the large
    model."""
    points = {size: median(ms) for (role, size), ms in seen.items() if role == "large" and ms}
    return max(16, 2 * largest_useful(CostCurve(points), max(points))) if points else 16


def _settled(values: Sequence[float]) -> bool:
    if len(values) < LEAST:
        return False
    cell = cell_of(values)
    return cell.spread <= ENOUGH * cell.ms


def _affordable(
    engines: Mapping[Role, Engine], seconds: float, clock: Callable[[], float]
) -> list[int]:
    """Context lengths that fit into every engine and do not take too long to read."""
    room = min(engine.context for engine in engines.values())
    start = clock()
    probe = max(1, min(32, room // 2))
    for engine in engines.values():
        engine.rewind(0)
        engine.forward([0] * probe, rows=1)
    token = (clock() - start) / probe
    fitting = [
        c for c in CONTEXTS if c + max(LARGE_SIZES) <= room and token * c <= READING * seconds
    ]
    return fitting or [min(16, max(1, room // 2))]


def _stand_at(engine: Engine, length: int) -> None:
    """Make the sequence `length` tokens long: cut it where the engine can, else read anew."""
    if engine.length >= length and "rewind" in engine.capabilities:
        engine.rewind(length)
        return
    if engine.length != length:
        engine.rewind(0)
        engine.forward([0] * length, rows=0)


TableData = dict[str, list[tuple[int, int, float, float, int, int]]]
"""For the journal: role to (context, size, ms, spread, count, outliers)."""


def data_of(tables: Mapping[Role, CostTable]) -> TableData:
    """The tables for the journal."""
    return {
        role: [
            (context, size, cell.ms, cell.spread, cell.count, cell.outliers)
            for context, column in table.cells.items()
            for size, cell in column.items()
        ]
        for role, table in tables.items()
    }


def tables_from(data: TableData) -> dict[Role, CostTable]:
    """The tables from the journal."""
    tables: dict[Role, CostTable] = {}
    for role, cells in data.items():
        for context, size, ms, spread, count, outliers in cells:
            column = tables.setdefault(role, CostTable()).cells.setdefault(context, {})
            column[size] = Cell(ms, spread, count, outliers)
    return tables


BATCH = 8
"""Tokens of the batch that stands for all batches."""
CONTEXT = 128
ROUNDS = 7
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
                    _feed(engine, engine.context if isinstance(engine, CanvasEngine) else size)
                    if repeat:
                        seen.setdefault((count, size, place), []).append(1000 * (clock() - start))
    return {
        (count, size): sum(median(seen[count, size, place]) for place in range(len(opened)))
        for count, opened in engines.items()
        for size in (1, BATCH)
    }
