"""Measures how long a forward of n tokens takes, for each model and several context lengths.

Sizes and models are interleaved, so that a slow moment hits all alike. One token is measured after
one token, as in decoding. A cell is measured until its median is known within a few percent, or the
time is up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from time import perf_counter

from adec.calibration.costs.cost_tables import CostTable, cell_of, largest_useful
from adec.decoding.pair.clock.cost_curve import CostCurve
from adec.engines.base import Engine
from adec.engines.protocols import CanvasEngine
from adec.events.records import Role

LARGE_SIZES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 15, 16, 17, 20, 24, 28, 31, 32, 33, 48, 64)
"""Tokens of a forward of the large model, up to the largest tree that is worth its own time: dense
where kernels have their steps (about 4, 8, 16 and 32), sparse beyond."""
SMALL_SIZES = (1, 2, 4, 8, 16)
"""Tokens of a forward of the small model: it drafts one by one, and catches up on a few."""
CONTEXTS = (1024, 256, 16)
"""Tokens before the forward, longest first: the sequence is then read once and only cut."""
ENOUGH = 0.03
"""Spread of a median at which a cell is done, as a share of it."""
LEAST, MOST = 5, 40
"""Forwards of a cell."""
CANVAS_SIZES = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""Positions of the canvases of a diffusion model that are measured, the prompt among them."""
SCORED = 32
"""Positions of them that are scored: a block of masks."""
READING = 0.25
"""Share of the measuring time that reading up to a context length may take; longer ones are left
out."""


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
            feed(engine, size)
            took = 1000 * (clock() - start)
            _stand_at(engine, context)
            seen[role, size].append(took)
            tick(min(1.0, (clock() - began) / max(seconds, 1e-9)))
        if not open_:
            break
    return seen


def feed(engine: Engine, size: int) -> None:
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
