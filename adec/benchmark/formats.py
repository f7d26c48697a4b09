"""Numbers as text in a table; a dash stands for what is unknown."""

from __future__ import annotations

import math

from adec.benchmark.statistics import Gain, Interval, Share
from adec.display import wording

UNKNOWN = "-"


def percent(value: float | None) -> str:
    return UNKNOWN if value is None else wording.percent(value)


def interval(value: Interval | None) -> str:
    """The median, and its bounds where there are any, at three digits."""
    if value is None:
        return UNKNOWN
    if value.low is None or value.high is None:
        return short(value.middle)
    return f"{short(value.middle)} [{short(value.low)}, {short(value.high)}]"


def short(value: float) -> str:
    """Three significant digits without an exponent: 0.0123, 1.23, 12.3, 12345."""
    if value == 0 or not math.isfinite(value):
        return f"{value:.0f}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def share(value: Share | None) -> str:
    return UNKNOWN if value is None else f"{100 * value.value:.0f} %"


def bounds(value: Share | None) -> str:
    """Wilson's interval in percent."""
    if value is None:
        return ""
    low, high = value.interval
    return f" [{100 * low:.0f}, {100 * high:.0f}]"


def points(value: Gain | None) -> str:
    """A difference in accuracy and its bounds, in percentage points."""
    if value is None:
        return UNKNOWN
    low, high = value.interval
    return f"{100 * value.value:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def multiple(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.2f}x"


def agreement(value: Share | None) -> str:
    return UNKNOWN if value is None else f"{value.part} of {value.count}"


def megabytes(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value / 1e6:.0f}"
