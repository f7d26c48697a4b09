"""The columns of a bench's tables: name, meaning, and the text of a row's cell."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from adec.benchmark.bench_report import BenchReport, RowReport
from adec.benchmark.samples import PLAIN
from adec.benchmark.statistics import Gain, Interval, Share
from adec.display.wording import percent

UNKNOWN = "-"

T = TypeVar("T")


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str
    cell: Callable[[RowReport], str]


def short(value: float) -> str:
    """Three significant digits without an exponent: 0.0123, 1.23, 12.3, 12345."""
    if value == 0 or not math.isfinite(value):
        return f"{value:.0f}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def points(gain: Gain) -> str:
    """A difference in accuracy and its bounds, in percentage points."""
    low, high = gain.interval
    return f"{100 * gain.value:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def _known(value: T | None, text: Callable[[T], str], unknown: str = UNKNOWN) -> str:
    return unknown if value is None else text(value)


def _percent(value: float | None) -> str:
    return _known(value, percent)


def _number(value: float | None) -> str:
    return _known(value, "{:.2f}".format)


def _multiple(value: float | None) -> str:
    return _known(value, "{:.2f}x".format)


def _interval(value: Interval | None) -> str:
    """The median, and its bounds where there are any."""
    if value is None:
        return UNKNOWN
    if value.low is None or value.high is None:
        return short(value.middle)
    return f"{short(value.middle)} [{short(value.low)}, {short(value.high)}]"


def _accuracy(row: RowReport) -> str:
    def text(share: Share) -> str:
        low, high = share.interval
        return f"{percent(share.value)} [{100 * low:.0f}, {100 * high:.0f}]"

    return _known(row.accuracy, text)


def _against_plain(text: Callable[[RowReport], str]) -> Callable[[RowReport], str]:
    """Empty in the row of plain itself."""
    return lambda row: "" if row.name == PLAIN else text(row)


SPEED = (
    Column("tok/s", lambda row: _interval(row.speed)),
    Column("speedup", lambda row: _interval(row.ratio)),
    Column("1st token", lambda row: _known(row.first_ms, lambda ms: f"{short(ms.middle)} ms")),
    Column("tok/forward", lambda row: _number(row.per_forward)),
    Column("work", lambda row: _number(row.work)),
    Column("overhead", lambda row: _percent(row.overhead)),
)
QUALITY = (
    Column("wrote", lambda row: _percent(row.wrote)),
    Column("read", lambda row: _percent(row.read)),
    Column("right", _accuracy),
    Column("same", lambda row: _known(row.same, lambda same: f"{same.part} of {same.count}")),
    Column("leading", lambda row: _percent(row.leading)),
    Column("peak MB", lambda row: _known(row.peak_bytes, lambda peak: f"{peak / 1e6:.0f}")),
)
PAIRED = (
    Column("right", _accuracy),
    Column("gain in points", _against_plain(lambda row: _known(row.gain, points))),
    Column("won", _against_plain(lambda row: str(row.won))),
    Column("lost", _against_plain(lambda row: str(row.lost))),
    Column("fed", lambda row: _multiple(row.fed)),
    Column("time", lambda row: _multiple(row.time)),
)
"""For two or more rows whose answers can be right or wrong on the same prompts."""

LEGEND = (
    "tok/s: tokens per second, prompt included, median [95 % interval]. speedup: against plain on "
    "the same prompt. tok/forward: per forward of the large model. work: parameters times tokens "
    "fed, plain = 1. overhead: time outside the models. wrote, read: share of the tokens that the "
    "large model wrote, and was fed with catch-up and rejected drafts. right: accuracy [95 %]. "
    "same: answers equal to plain's; leading: tokens equal before the first difference. peak MB: "
    "most memory while the row answered; strategies share a process that holds the models of all "
    "rows, llama.cpp's programs hold their own."
)
PAIRED_LEGEND = (
    "gain: accuracy minus plain's on the same prompts [95 % interval, paired]; won, lost: prompts "
    "that only this row, or only plain, got right. fed: tokens fed to the models while decoding, "
    "time: wall time, both as multiples of plain's."
)


def tables_of(report: BenchReport) -> list[tuple[Column, ...]]:
    """The tables that this report fills."""
    return [SPEED, QUALITY, PAIRED] if _is_judged(report) else [SPEED, QUALITY]


def legend_of(report: BenchReport) -> str:
    """What the columns of its tables mean."""
    return f"{LEGEND} {PAIRED_LEGEND}" if _is_judged(report) else LEGEND


def _is_judged(report: BenchReport) -> bool:
    return sum(row.gain is not None for row in report.rows) > 1
