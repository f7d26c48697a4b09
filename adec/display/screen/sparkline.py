"""Signals as columns of one row: half height is the threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.text import Text

ABOVE = "bold yellow"
"""The style of a column above its threshold."""

Column = tuple[float, float | None]
"""A signal in nats, and its threshold if it has one."""

_BLOCKS = "▁▂▃▄▅▆▇█"
_HALF = len(_BLOCKS) // 2


def sparkline(points: Sequence[Column], width: int) -> Text:
    """The last points as columns. Half height is the threshold; above it, columns are taller
    and in another colour."""
    shown = list(points)[-width:]
    finite = [value for value, _ in shown if math.isfinite(value)]
    top = max(finite, default=1.0)
    line = Text(" " * (width - len(shown)), no_wrap=True)
    for value, threshold in shown:
        above = threshold is not None and value > threshold
        line.append(block(value, threshold, top), style=ABOVE if above else "")
    return line


def block(value: float, threshold: float | None, top: float) -> str:
    """A column: up to half height below its threshold and taller above. Without a threshold it is
    full at `top`."""
    if math.isnan(value):
        return " "
    if threshold is None or not math.isfinite(threshold):
        return _BLOCKS[_level(value, 0.0, top, len(_BLOCKS) if threshold is None else _HALF)]
    if value > threshold:
        return _BLOCKS[_HALF + _level(value, threshold, top, _HALF)]
    return _BLOCKS[_level(value, 0.0, threshold, _HALF)]


def _level(value: float, low: float, high: float, levels: int) -> int:
    if high <= low or value <= low:
        return levels - 1 if value == math.inf else 0
    share = (value - low) / (high - low)
    # a trace may hold numbers whose difference is no number
    return min(levels - 1, int(levels * share)) if share < 1 else levels - 1
