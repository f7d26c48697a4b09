"""The report for a terminal: tables of at most 80 columns, verdicts, a plot, notes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TextIO

from adec.benchmark.bench_report import BenchReport
from adec.benchmark.columns import (
    UNKNOWN,
    is_few,
    legend_of,
    short,
    speedup,
    tables_of,
    timed_groups,
    worker_name,
    worker_table,
)
from adec.benchmark.samples import PLAIN, Difference
from adec.display.plot import Plot, PlotPoint, letters
from adec.display.sanitise import one_line
from adec.display.streams import write
from adec.display.wording import count, percent

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
    tables = tables_of(report)
    if width < NARROW:
        for row in report.rows:
            console.print(Text(one_line(row.name), style="bold"))
            for column in (column for table in tables for column in table):
                cell = column.cell(row)
                if cell not in ("", UNKNOWN):
                    console.print(Text(f"  {column.name:<12}{cell}"))
        console.print()
        tables = []
    for columns in tables:
        table = Table(box=style, padding=(0, 1), pad_edge=False)
        table.add_column("", overflow="fold")
        for column in columns:
            table.add_column(column.name, justify="right")
        for row in report.rows:
            name = Text(one_line(row.name), style="bold")
            table.add_row(name, *(Text(column.cell(row)) for column in columns))
        console.print(table)
    if width >= NARROW and (groups := timed_groups(report)):
        rows = [row for row in report.rows if row.ratios and row.name != PLAIN]
        table = Table("speedup of", box=style, padding=(0, 1), pad_edge=False)
        for row in rows:
            table.add_column(one_line(row.name), justify="right", overflow="fold")
        for group in groups:
            table.add_row(one_line(group), *(speedup(row, group) for row in rows))
        console.print(table)
    if workers := worker_table(report):
        table = Table(*workers[0], box=style, padding=(0, 1), pad_edge=False)
        for cells in workers[1:]:
            table.add_row(*map(one_line, cells))
        console.print(table)
    for line in lines(report):
        console.print(Text(line))
    plot = quality_plot(report)
    if plot is not None:
        console.print()
        for line in [*plot.text(min(width, 100), unicode=unicode), *_legend(plot)]:
            console.print(Text(line), soft_wrap=len(line) <= width)
    console.print()
    console.print(Text(legend_of(report), style="dim"))
    # rich pads cells; nobody needs blanks at the end of a line
    write(stream, "\n".join(line.rstrip() for line in text.getvalue().split("\n")))


def lines(report: BenchReport) -> Iterator[str]:
    """Verdicts, differences and remarks as sentences."""
    for row in report.rows:
        promise = f" ({row.header.guarantee})" if row.header.guarantee else ""
        yield f"{one_line(row.name + promise)}: {one_line(row.verdict)}"
        for index, difference in row.differences:
            yield f"    prompt {index}: {one_line(explain(difference))}"
    if report.done < report.planned:
        yield f"Only {report.done} of {count(report.planned, 'prompt')} were run."
    for worker in report.workers:
        if worker.machine:
            yield f"{one_line(worker_name(worker.name))}: {one_line(worker.machine)}."
    if report.mixed:
        yield (
            "Several workers answered: times are compared within each of them (x: speedup against "
            "plain there), and no figure mixes them."
        )
    for remark in report.remarks:
        yield f"Note: {one_line(remark)}."


def quality_plot(report: BenchReport) -> Plot | None:
    """Quality against time a token, for the rows of which both are known; None for fewer than two.

    Quality is accuracy, or the share of answers equal to plain's where no answer can be judged.
    None, too, for a handful of prompts, and where all rows are equally good: the table says as
    much.
    """
    judged = any(row.accuracy is not None for row in report.rows)
    known = []
    for row in report.rows:
        quality = row.accuracy if judged else row.same
        if row.speed is not None and quality is not None and row.speed.middle > 0:
            known.append((row.name, 1000 / row.speed.middle, quality.value))

    def beaten(ms: float, quality: float) -> bool:
        others = [(m, q) for _, m, q in known if (m, q) != (ms, quality)]
        return any(m <= ms and q >= quality for m, q in others)

    if len({quality for _, _, quality in known}) < 2 or is_few(report):
        return None
    marks = letters(name for name, _, _ in known)
    points = [
        PlotPoint(
            ms, quality, name, marks[name],
            front=not beaten(ms, quality),
            about=f"{name}: {short(ms)} ms a token, {percent(quality)}",
        )
        for name, ms, quality in known
    ]  # fmt: skip
    title = "right answers" if judged else "answers equal to plain's"
    return Plot("ms a token (left is fast)", title, points)


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
    if difference.is_rounding:
        return f"{words}: within rounding, which moves it by up to {difference.noise:.2g}"
    if difference.noise is not None:
        return f"{words}: more than rounding explains, which moves it by {difference.noise:.2g}"
    if abs(difference.gap) < NEAR_TIE:
        return f"{words}: a near tie, which rounding in another batch size explains"
    return f"{words}: more than rounding explains"
