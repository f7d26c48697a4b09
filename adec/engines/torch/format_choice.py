"""In which number format, and on how many threads, a model folder runs on this processor.

When a model is loaded for the first time, forwards through some of its matrices are timed in
float32 and in bfloat16, on one thread and on more. The times are kept for the model and the
machine. A processor with instructions for bfloat16 reads half the bytes for a token; without them
it may take many times as long.

bfloat16 is considered only for a checkpoint that is stored in it: the weights are then the file's
in either format, and the arithmetic alone is coarser. A checkpoint in float32 would be rounded,
which makes another model of it. Times that were taken while other programs used the machine serve
until it is quiet, and are then taken anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from time import perf_counter

from adec.engines.base import ModelHeader
from adec.engines.model_key import model_key
from adec.engines.thread_count import MORE
from adec.machine import in_use
from adec.places import kept_folder
from adec.whole_file import whole_file

MEASURED_FROM = 30_000_000
"""Parameters from which a model is measured. A smaller one is fast in any format."""
SEVERAL = 16
"""Tokens of the larger forward that is timed."""
BUDGET = 0.25
"""Seconds that measuring may take; no forward begins later."""
ROUNDS = 5
"""How often every forward is timed at most; the shortest time counts."""
HOPELESS = 2.0
"""The larger forward is left out in a format in which one token takes this many times float32's."""
MARGIN = 0.9
"""Share of the time of the format before, up to which another one is taken."""
SLOWEST = 1e6
"""Milliseconds of a kept forward that are believed."""
FORMATS = ("float32", "bfloat16")
"""The formats to choose from; the first one is the default."""
MOST_THREADS = 4096
FILE_BYTES = 4096
_SCHEMA = 1

Feed = Callable[[str, int, int], None]
"""Run a forward in a format, on a number of threads, of a number of tokens."""
Times = Mapping[str, Mapping[int, tuple[float, float]]]
"""By format and threads: milliseconds of a forward of one token, and of `SEVERAL`."""

_known: dict[Path, FormatTimes] = {}
"""By file: what this process goes by, so that all its engines on a model agree."""


@dataclass(frozen=True)
class FormatTimes:
    """What was measured for a model on this machine."""

    times: Times
    format: str
    """The one that was taken."""
    contended: bool
    """Whether other programs used the machine meanwhile."""

    def threads(self, format: str) -> int | None:
        """The number of threads that is fastest in a format; None where that is not known."""
        if self.contended:
            return None
        costs = {count: _cost(pair) for count, pair in self.times.get(format, {}).items()}
        chosen: int | None = None
        for count in sorted(costs):
            if chosen is None or costs[count] <= MORE * costs[chosen]:
                chosen = count
        return chosen


def format_times(
    header: ModelHeader,
    feed: Callable[[], Feed],
    formats: Sequence[str],
    most: int,
    backend: str,
    clock: Callable[[], float] = perf_counter,
    busy: Callable[[], bool] = in_use,
) -> FormatTimes | None:
    """What is known of a model, or else measured now and kept.

    `feed` is called if something is measured. `formats` are those that it may run in, `most` its
    largest number of threads, `backend` is torch with its version. `busy`: whether other programs
    use the machine. None where measuring fails.
    """
    key = model_key(header, backend, str(most), *formats)
    file = kept_folder("number_format") / f"{key}.json"
    if file in _known:
        return _known[file]
    found = _read(file)
    before = busy()
    if found is None or (found.contended and not before):
        counts = [1] if before or most == 1 else [1, most]
        try:
            times = measure_formats(feed, formats, counts, clock)
        except (RuntimeError, MemoryError):  # torch has no room for it
            return found
        if not times:
            return found
        favoured = FORMATS[0] if found is None else found.format
        fresh = FormatTimes(times, fastest_format(times, favoured), before or busy())
        # another process may have been faster
        other = _read(file) if found is None else None
        found = fresh if other is None else other
        if found is fresh:
            _write(file, fresh)
    _known[file] = found
    return found


def measure_formats(
    feed: Callable[[], Feed],
    formats: Sequence[str],
    counts: Sequence[int],
    clock: Callable[[], float] = perf_counter,
) -> dict[str, dict[int, tuple[float, float]]]:
    """Time forwards in every format, float32 first, on each number of threads, within `BUDGET`.

    A format and count for which no time was left are not in the result. Raises what `feed` raises.
    """
    began = clock()
    least: dict[tuple[str, int, int], float] = {}
    forward = feed()

    def hopeless(format: str, count: int) -> bool:
        return least[format, count, 1] > HOPELESS * least[formats[0], count, 1]

    for round_ in range(ROUNDS + 1):  # the first one warms up
        for count in counts:
            for format in formats:
                for tokens in (1, SEVERAL):
                    start = clock()
                    late = start - began > BUDGET
                    if late or (tokens > 1 and hopeless(format, count)):
                        break
                    forward(format, count, tokens)
                    ms = 1000 * (clock() - start)
                    key = format, count, tokens
                    least[key] = ms if round_ == 1 else min(ms, least.get(key, ms))
    times: dict[str, dict[int, tuple[float, float]]] = {}
    for format in formats:
        for count in counts:
            pair = least.get((format, count, 1)), least.get((format, count, SEVERAL))
            if pair[0] is not None and pair[1] is not None:
                times.setdefault(format, {})[count] = pair[0], pair[1]
    return times


def fastest_format(times: Times, favoured: str = FORMATS[0]) -> str:
    """The format to take; another one than `favoured` must be faster by a margin."""
    best = {format: min(map(_cost, pairs.values())) for format, pairs in times.items() if pairs}
    if favoured not in best:
        return min(best, key=best.__getitem__, default=FORMATS[0])
    faster = min(best, key=best.__getitem__)
    return faster if best[faster] <= MARGIN * best[favoured] else favoured


def _cost(pair: tuple[float, float]) -> float:
    """Milliseconds a token, where as many tokens are read as are written."""
    return pair[0] + pair[1] / SEVERAL


def _read(file: Path) -> FormatTimes | None:
    """What a file holds; None if it is not what adec wrote."""
    try:
        with file.open("rb") as opened:
            data = json.loads(opened.read(FILE_BYTES))
        if data["schema"] != _SCHEMA or data["format"] not in FORMATS:
            return None
        times = {
            format: {_threads(count): _pair(pair) for count, pair in data["ms"][format].items()}
            for format in FORMATS
            if format in data["ms"]
        }
        if not times.get(data["format"]) or type(data["contended"]) is not bool:
            return None
        return FormatTimes(times, data["format"], data["contended"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _threads(text: str) -> int:
    if not 1 <= (count := int(text)) <= MOST_THREADS:
        raise ValueError
    return count


def _pair(values: object) -> tuple[float, float]:
    match values:
        case [float(one), float(several)] if isfinite(one) and isfinite(several):
            if 0 < one <= SLOWEST and 0 < several <= SLOWEST:
                return one, several
    raise ValueError


def _write(file: Path, found: FormatTimes) -> None:
    """Keep it for later runs. If it cannot be written, it is measured again."""
    data = {
        "schema": _SCHEMA,
        "format": found.format,
        "contended": found.contended,
        "ms": {format: dict(pairs) for format, pairs in found.times.items()},
    }
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(file) as opened:
            opened.write(json.dumps(data))
    except OSError:
        return
