"""Forward times of a model on this machine: measured once in a few seconds, then kept on disk."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Generator
from pathlib import Path
from time import perf_counter

from adec.decoding.pair.clock.cost_curve import CostCurve
from adec.engines.base import Engine
from adec.events.records import Step
from adec.places import kept_folder
from adec.whole_file import whole_file

SIZES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 15, 16, 17, 20, 24, 28, 31, 32, 33, 48, 64)
"""Tokens of the forwards measured: dense where kernels have their steps (about 4, 8, 16 and 32),
sparse beyond."""
OFTEN = 17
"""Sizes up to this one are measured several times: most decisions are about drafts of such
sizes."""
REPEATS = 3
SECONDS = 6.0
"""About how long a measurement may take; the forward under way is finished."""
FILE_BYTES = 64 * 1024

_SCHEMA = 2


def measure(engine: Engine, seconds: float = SECONDS) -> CostCurve:
    """Time forwards of `SIZES` tokens on an empty sequence, which is empty again afterwards.

    Sizes are interleaved, so that a slow moment hits all alike. Of up to `REPEATS` forwards of a
    size the fastest counts, since other work on the machine only adds. Every size up to 4 is
    measured at least once. Raises EngineError.
    """
    seen: dict[int, list[float]] = {}
    began = perf_counter()
    limit = engine.context
    engine.rewind(0)
    engine.forward([0])  # the first forward pays for what the backend sets up
    for repeat in range(REPEATS):
        for size in SIZES:
            engine.rewind(0)
            if repeat and size > OFTEN:
                continue
            if size > limit or (perf_counter() - began > seconds and (repeat or size > 4)):
                continue
            if size == 1 and repeat:
                engine.forward([0])  # in decoding, one token follows one token
                engine.rewind(0)
            start = perf_counter()
            engine.forward([0] * size, rows=size)
            seen.setdefault(size, []).append(1000 * (perf_counter() - start))
    engine.rewind(0)
    return CostCurve({size: min(values) for size, values in seen.items()})


def kept_curve(engine: Engine, folder: Path) -> CostCurve | None:
    """The curve kept for this model on this machine; None if there is none or it is unreadable."""
    try:
        with (folder / f"{_key(engine)}.json").open("rb") as file:
            data = json.loads(file.read(FILE_BYTES))
        if data["schema"] != _SCHEMA:
            return None
        return CostCurve({int(size): float(ms) for size, ms in data["ms"].items()})
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def keep_curve(engine: Engine, curve: CostCurve, folder: Path) -> None:
    """Keep it for later runs. One that cannot be written is measured again."""
    try:
        points = {str(size): round(ms, 4) for size, ms in curve.points.items()}
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(folder / f"{_key(engine)}.json") as file:
            file.write(json.dumps({"schema": _SCHEMA, "ms": points}))
    except OSError:
        return


def curve_at_first_use(engine: Engine) -> Generator[Step, None, CostCurve | None]:
    """The curve kept for this engine, or else a new one; steps say so while it is measured.

    None for an engine that is only a table: its times say nothing.
    """
    if engine.info.format == "table":
        return None
    folder = kept_folder("cost")
    curve = kept_curve(engine, folder)
    if curve is None:
        yield Step("prompt", reason="measuring forward times, once for this model and machine")
        began = perf_counter()
        curve = measure(engine)
        keep_curve(engine, curve, folder)
        yield Step("prompt", reason=f"measured forward times in {perf_counter() - began:.1f} s")
    return curve


def _key(engine: Engine) -> str:
    """What a curve depends on, as far as known: the model, the machine, the cores we may use."""
    info = engine.info
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parts = (
        info.name,
        info.format,
        info.architecture,
        info.quantisation,
        str(info.bytes),
        str(info.parameters),
        platform.node(),
        platform.machine(),
        str(cores),
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
