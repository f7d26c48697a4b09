"""The forward-time curve of a model on this machine, kept on disk from run to run."""

from __future__ import annotations

import json
import os

from adec.decoding.pair.clock.cost_curve import CostCurve
from adec.engines.base import Engine
from adec.engines.model_key import model_key
from adec.places import kept_folder
from adec.whole_file import whole_file

FILE_BYTES = 64 * 1024

_SCHEMA = 3


def kept_curve(engine: Engine) -> CostCurve | None:
    """The curve kept for this model on this machine; None if there is none or it is unreadable."""
    folder = kept_folder("cost")
    try:
        with (folder / f"{_key(engine)}.json").open("rb") as file:
            data = json.loads(file.read(FILE_BYTES))
        if data["schema"] != _SCHEMA:
            return None
        return CostCurve({int(size): float(ms) for size, ms in data["ms"].items()})
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def keep_curve(engine: Engine, curve: CostCurve) -> None:
    """Keep it for later runs. If it cannot be written, the next run learns it again."""
    folder = kept_folder("cost")
    try:
        points = {str(size): round(ms, 4) for size, ms in curve.points.items()}
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(folder / f"{_key(engine)}.json") as file:
            file.write(json.dumps({"schema": _SCHEMA, "ms": points}))
    except OSError:
        return


def _key(engine: Engine) -> str:
    """What a curve depends on, as far as known: the model, the machine, the cores we may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return model_key(engine, str(cores))
