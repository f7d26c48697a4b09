"""The forward-time curve of a model on this machine, kept on disk from run to run."""

from __future__ import annotations

import json
import os

from adec.decoding.pair.clock.cost_curve import CostCurve, LearnedCurve
from adec.engines.base import Engine, ModelInfo
from adec.engines.model_key import key_of_info
from adec.places import kept_folder
from adec.whole_file import whole_file

FILE_BYTES = 64 * 1024
QUIETER = 0.9
"""A forward that takes less than this share of its kept time shows the machine was busy then."""

_SCHEMA = 3


def kept_curve(engine: Engine) -> CostCurve | None:
    """The curve kept for this model on this machine; None if there is none or it is unreadable.

    Where none is kept for this number of threads, one of an older version counts, which knew none.
    """
    older = _key(engine, threads=False)
    return _read(_key(engine)) or _read(older)


def kept_curve_of(info: ModelInfo) -> CostCurve | None:
    """The same for a model that is not loaded: of the number of threads nearest to all cores."""
    keys = [_key_of(info, f"{threads} threads") for threads in range(_cores(), 0, -1)]
    curves = (_read(key) for key in (*keys, _key_of(info)))
    return next((curve for curve in curves if curve is not None), None)


def _read(key: str) -> CostCurve | None:
    folder = kept_folder("cost")
    try:
        with (folder / f"{key}.json").open("rb") as file:
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


class KeptTimes(LearnedCurve):
    """Forward times of one model, which begin with what earlier runs kept and are kept for later
    ones."""

    def __init__(
        self, engine: Engine, curve: CostCurve | None = None, *, keeps: bool = True
    ) -> None:
        """`curve`: forward times that are known beforehand. `keeps`: use the cache at all."""
        # a link's times are another's tomorrow
        self._keeps = keeps and engine.info.format not in ("table", "remote")
        if curve is None and self._keeps:
            curve = kept_curve(engine)
        super().__init__(curve)
        self._engine = engine
        self._threads = engine.threads
        self._kept = dict(self.points)

    def keep(self) -> None:
        """Keep what was learnt, if it is new: other sizes, or forwards that were clearly faster.

        The fastest counts, since other work on the machine only adds. Times on another number of
        threads than those of the beginning are mixed with these, and are not kept.
        """
        if not self._keeps or self._engine.threads != self._threads:
            return
        points, kept = self.points, self._kept
        if any(ms < QUIETER * kept.get(size, float("inf")) for size, ms in points.items()):
            self._kept = {**kept, **{n: min(ms, kept.get(n, ms)) for n, ms in points.items()}}
            keep_curve(self._engine, CostCurve(self._kept))


def _key(engine: Engine, *, threads: bool = True) -> str:
    """What a curve depends on, as far as known: the model, its number format, the machine, the
    cores we may use, and the `threads` that it runs on."""
    more = [f"{engine.threads} threads"] if threads and engine.threads is not None else []
    return _key_of(engine.info, *filter(None, [engine.dtype]), *more)


def _key_of(info: ModelInfo, *more: str) -> str:
    return key_of_info(info, str(_cores()), *more)


def _cores() -> int:
    whole = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return whole or 1
