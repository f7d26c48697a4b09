"""The columns of a bench's tables: name, meaning, and the text of a row's cell."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from adec.benchmark.bench_report import BenchReport, RowReport
from adec.benchmark.samples import PLAIN
from adec.benchmark.statistics import FEWEST, Gain, Interval, Share
from adec.display.wording import percent

UNKNOWN = "-"
WORKERS = 20
"""Workers that a table lists; the JSON has all."""

T = TypeVar("T")


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str
    cell: Callable[[RowReport], str]
    about: str = ""


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


def _part(share: Share | None) -> str:
    return _known(share, lambda known: f"{known.part} of {known.count}")


TOKENS_A_SECOND = Column(
    "tok/s",
    lambda row: _interval(row.speed),
    "tokens per second, prompt included, the median of the prompts",
)
SPEEDUP = Column(
    "speedup", lambda row: _interval(row.ratio), "against plain on the same prompt, the median"
)
PER_FORWARD = Column(
    "tok/forward", lambda row: _number(row.per_forward), "per forward of the large model"
)
RIGHT = Column("right", _accuracy, "accuracy")
SAME = Column("same", lambda row: _part(row.same), "answers equal to plain's")
FORWARDS = Column(
    "forwards", lambda row: _number(row.forwards), "of a diffusion model, for an answer"
)
SPEED = (
    TOKENS_A_SECOND,
    SPEEDUP,
    Column(
        "1st token",
        lambda row: _known(row.first_ms, lambda ms: f"{short(ms.middle)} ms"),
        "wall time to the first one",
    ),
    FORWARDS,
    PER_FORWARD,
    Column(
        "work",
        lambda row: _number(row.work),
        "parameters times tokens fed, as a multiple of plain's",
    ),
    Column("overhead", lambda row: _percent(row.overhead), "time outside the models"),
)
QUALITY = (
    Column(
        "wrote", lambda row: _percent(row.wrote), "share of the tokens that the large model wrote"
    ),
    Column(
        "read",
        lambda row: _percent(row.read),
        "tokens that it was fed, catch-up and rejected drafts included",
    ),
    RIGHT,
    SAME,
    Column(
        "leading", lambda row: _percent(row.leading), "tokens equal before the first difference"
    ),
    Column(
        "peak MB",
        lambda row: _known(row.peak_bytes, lambda peak: f"{peak / 1e6:.0f}"),
        "most memory while the row answered; strategies share a process that holds the models of "
        "all rows, llama.cpp's programs hold their own",
    ),
)
PAIRED = (
    RIGHT,
    Column(
        "gain in points",
        _against_plain(lambda row: _known(row.gain, points)),
        "accuracy minus plain's on the same prompts, paired",
    ),
    Column("won", _against_plain(lambda row: str(row.won)), "prompts that only this row got right"),
    Column("lost", _against_plain(lambda row: str(row.lost)), "prompts that only plain got right"),
    Column("fed", lambda row: _multiple(row.fed), "tokens fed while decoding, of plain's"),
    Column("time", lambda row: _multiple(row.time), "wall time, of plain's"),
)
"""For two or more rows whose answers can be right or wrong on the same prompts."""
FEW = (
    TOKENS_A_SECOND,
    SPEEDUP,
    FORWARDS,
    PER_FORWARD,
    Column("right", lambda row: _part(row.accuracy), "answers that were judged right"),
    SAME,
)
"""For fewer prompts than an interval takes: what was counted, and no more."""


def tables_of(report: BenchReport) -> list[tuple[Column, ...]]:
    """The tables that this report fills, without columns in which nothing is known."""
    if is_few(report):
        tables: list[tuple[Column, ...]] = [FEW]
    else:
        judged = sum(row.gain is not None for row in report.rows) > 1
        tables = [SPEED, QUALITY, PAIRED] if judged else [SPEED, QUALITY]
    return [
        tuple(c for c in table if any(c.cell(row) not in ("", UNKNOWN) for row in report.rows))
        for table in tables
    ]


def timed_groups(report: BenchReport) -> list[str]:
    """Kinds of tasks whose speeds are shown apart; none where all tasks are of one kind."""
    names = sorted({name for row in report.rows if row.name != PLAIN for name in row.ratios})
    return names if len(names) > 1 else []


def speedup(row: RowReport, group: str) -> str:
    """A row's speed on one kind of tasks, as a multiple of plain's."""
    return _interval(row.ratios.get(group))


def worker_table(report: BenchReport) -> list[list[str]]:
    """The head and the rows of the table of workers; empty where all was done on this machine."""
    if not report.workers:
        return []
    yardstick = PLAIN if report.plain is not None else report.rows[0].name
    others = [row for row in report.rows if row.name != PLAIN]
    lines = [["worker", "prompts", f"{yardstick} tok/s", *(f"{row.name} x" for row in others)]]
    first = next(row for row in report.rows if row.name == yardstick)
    for worker in report.workers[:WORKERS]:
        lines.append(
            [
                worker_name(worker.name),
                str(worker.prompts),
                _interval(first.by_worker[worker.name].speed),
                *(_interval(row.by_worker[worker.name].ratio) for row in others),
            ]
        )
    return lines


def worker_name(name: str) -> str:
    """A worker in words."""
    return name or "this machine"


def is_few(report: BenchReport) -> bool:
    """Whether there are too few prompts for intervals, charts and shares."""
    return report.done < FEWEST


def legend_of(report: BenchReport) -> str:
    """What the columns of its tables mean."""
    shown = dict.fromkeys(column for table in tables_of(report) for column in table)
    words = " ".join(f"{column.name}: {column.about}." for column in shown if column.about)
    return words if is_few(report) else f"{words} In brackets: 95 % intervals."
