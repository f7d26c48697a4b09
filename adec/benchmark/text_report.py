"""The report for a terminal: tables of at most 80 columns, verdicts, a plot, notes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TextIO

from adec.benchmark.bench_report import BenchReport, RowReport, quality_plot
from adec.benchmark.formats import (
    UNKNOWN,
    agreement,
    bounds,
    interval,
    megabytes,
    multiple,
    percent,
    points,
    share,
    short,
)
from adec.benchmark.samples import PLAIN, Difference
from adec.display.plot import Plot
from adec.display.sanitise import one_line
from adec.display.streams import write
from adec.display.wording import count, number

SPEED = ("tok/s", "speedup", "1st token", "tok/forward", "work", "overhead")
QUALITY = ("wrote", "read", "right", "same", "leading", "peak MB")
PAIRED = ("right", "gain in points", "won", "lost", "fed", "time")
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

NARROW = 76
"""Columns below which a table would be all ellipses: there each row is a list."""
NEAR_TIE = 0.05
"""Gaps of logits below this may be due to rounding in a batch of another size. In float32 they stay
well below it; half precision and quantised kernels reach it."""


def show(report: BenchReport, stream: TextIO, *, width: int, unicode: bool, colour: bool) -> None:
    """Write all of it."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # by way of a buffer: rich ends the process when a reader closes the pipe early
    text = io.StringIO()
    console = Console(
        file=text, width=width, no_color=not colour, highlight=False, emoji=False, markup=False,
        force_terminal=colour, safe_box=not unicode,
    )  # fmt: skip
    style = box.SIMPLE_HEAD if unicode else box.ASCII2
    tables = [(SPEED, speed_cells), (QUALITY, quality_cells)]
    judged = is_judged(report)
    if judged:
        tables.append((PAIRED, paired_cells))
    if width < NARROW:
        for row in report.rows:
            console.print(Text(one_line(row.name), style="bold"))
            for name, cell in (pair for c, f in tables for pair in zip(c, f(row), strict=True)):
                if cell not in ("", UNKNOWN):
                    console.print(Text(f"  {name:<12}{cell}"))
        console.print()
        tables = []
    for columns, cells in tables:
        table = Table(box=style, padding=(0, 1), pad_edge=False)
        table.add_column("", overflow="fold")
        for column in columns:
            table.add_column(column, justify="right")
        for row in report.rows:
            table.add_row(Text(one_line(row.name), style="bold"), *map(Text, cells(row)))
        console.print(table)
    for line in lines(report):
        console.print(Text(line))
    plot = quality_plot(report)
    if plot is not None:
        console.print()
        for line in [*plot.text(min(width, 100), unicode=unicode), *_legend(plot)]:
            console.print(Text(line), soft_wrap=len(line) <= width)
    console.print()
    console.print(Text(f"{LEGEND} {PAIRED_LEGEND}" if judged else LEGEND, style="dim"))
    # rich pads cells; nobody needs blanks at the end of a line
    write(stream, "\n".join(line.rstrip() for line in text.getvalue().split("\n")))


def is_judged(report: BenchReport) -> bool:
    """Whether there are two rows whose answers can be right or wrong on the same prompts."""
    return sum(row.gain is not None for row in report.rows) > 1


def lines(report: BenchReport) -> Iterator[str]:
    """Verdicts, differences and remarks as sentences."""
    for row in report.rows:
        promise = f" ({row.header.guarantee})" if row.header.guarantee else ""
        yield f"{one_line(row.name + promise)}: {one_line(row.verdict)}"
        for index, difference in row.differences:
            yield f"    prompt {index}: {one_line(explain(difference))}"
    if report.done < report.planned:
        yield f"Only {report.done} of {count(report.planned, 'prompt')} were run."
    for remark in report.remarks:
        yield f"Note: {one_line(remark)}."


def speed_cells(row: RowReport) -> tuple[str, ...]:
    """As `SPEED` names them."""
    return (
        interval(row.speed),
        interval(row.ratio),
        UNKNOWN if row.first_ms is None else f"{short(row.first_ms.middle)} ms",
        number(row.per_forward, 2),
        number(row.work, 2),
        percent(row.overhead),
    )


def quality_cells(row: RowReport) -> tuple[str, ...]:
    """As `QUALITY` names them."""
    return (
        percent(row.wrote),
        percent(row.read),
        f"{share(row.accuracy)}{bounds(row.accuracy)}",
        agreement(row.same),
        percent(row.leading),
        megabytes(row.peak_bytes),
    )


def paired_cells(row: RowReport) -> tuple[str, ...]:
    """As `PAIRED` names them."""
    if row.name == PLAIN:
        return (
            f"{share(row.accuracy)}{bounds(row.accuracy)}",
            "",
            "",
            "",
            multiple(row.fed),
            "1.00x",
        )
    return (
        f"{share(row.accuracy)}{bounds(row.accuracy)}",
        points(row.gain),
        str(row.won),
        str(row.lost),
        multiple(row.fed),
        multiple(row.time),
    )


def _legend(plot: Plot) -> list[str]:
    lines = [f"{p.mark}{'*' if p.front else ' '} {one_line(p.about)}" for p in plot.points]
    return [*lines, "*: no other row is both faster and better"]


def explain(difference: Difference) -> str:
    """A difference in words."""
    where = (
        f"after {difference.position} equal tokens plain writes {difference.plain_token}, "
        f"this {difference.row_token}"
    )
    if difference.gap is None:
        return f"{where}: one answer ends there"
    words = f"{where}; logit gap {difference.gap:.4g}"
    if abs(difference.gap) < NEAR_TIE:
        return f"{words}: a near tie, which rounding in another batch size explains"
    return f"{words}: more than rounding explains"
