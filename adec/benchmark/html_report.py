"""The report as one HTML file that loads nothing and runs nothing; every text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.resources import files
from typing import Any, TextIO

from adec.benchmark.bench_report import BenchReport, RowReport
from adec.benchmark.columns import legend_of, short, speedup, tables_of, timed_groups, worker_table
from adec.benchmark.samples import PromptResult
from adec.benchmark.text_report import explain, quality_plot
from adec.display.sanitise import sanitise

RUNS = 20_000
"""Answers that the page lists: a browser takes no more, and the JSON has them all."""
TEXT = 600
"""Characters of an answer that the page shows."""


def write_page(report: BenchReport, samples: Iterable[PromptResult], stream: TextIO) -> None:
    """Write the page piece by piece, so that its size needs no memory."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    plot = quality_plot(report)
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, finalize=_visible
    )
    environment.filters["explain"] = explain
    environment.filters["counted"] = _counted
    environment.filters["speedup"] = speedup
    source = files("adec.benchmark").joinpath("report.html.jinja").read_text(encoding="utf-8")
    template = environment.from_string(source)
    about = {"task": "", "began": "", "adec": "", **report.about}
    for part in template.generate(
        report=report,
        about=about,
        tables=tables_of(report),
        legend=legend_of(report),
        plot=None if plot is None else Markup(plot.svg()),
        plot_title=None if plot is None else f"{plot.y_title} against {plot.x_title}",
        groups=_groups(report),
        timed_groups=timed_groups(report),
        workers=worker_table(report),
        facts=list(_facts(about)),
        runs=_runs(samples),
    ):
        stream.write(part)


def _visible(value: Any) -> Any:
    """Show control and invisible characters as marks, as on a terminal."""
    return sanitise(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _counted(row: RowReport, group: str) -> str:
    found = row.groups.get(group)
    return f"{found.right} of {found.judged}" if found is not None and found.judged else "-"


def _groups(report: BenchReport) -> list[str]:
    return sorted(
        {name for row in report.rows for name, found in row.groups.items() if found.judged}
    )


def _facts(about: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for part in ("machine", "models", "settings", "options"):
        for name, value in dict(about.get(part) or {}).items():
            if isinstance(value, dict):
                value = ", ".join(f"{k} {v}" for k, v in value.items() if v is not None)
            if value not in (None, "", [], ()):
                yield str(name), str(value)


def _runs(samples: Iterable[PromptResult]) -> Iterator[dict[str, Any]]:
    shown = 0
    words = {True: "yes", False: "no", None: ""}
    for result in samples:
        for answer in result.answers:
            if shown >= RUNS:
                return
            shown += 1
            text = answer.error or answer.text
            ms, first = answer.ms_per_token, answer.first_seconds
            yield {
                "prompt": result.index,
                "kind": result.kind or result.group,
                "row": answer.row,
                "run": answer.run,
                "tokens": answer.tokens,
                "seconds": f"{answer.seconds:.3f}",
                "ms": "" if ms is None else short(ms),
                "first_token": "" if first is None else f"{short(1000 * first)} ms",
                "right": words[answer.right],
                "same": words[answer.same],
                "text": text if len(text) <= TEXT else f"{text[:TEXT]} …",
            }
