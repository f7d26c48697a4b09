"""The report as one HTML file that loads nothing: no script, no picture from elsewhere, every text escaped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.resources import files
from typing import Any, TextIO

from adec.benchmark.bench_report import BenchReport, RowReport
from adec.benchmark.chart import points, quality_name
from adec.benchmark.divergence import explain
from adec.benchmark.formats import percent, short
from adec.benchmark.samples import PromptResult
from adec.benchmark.text_report import (
    LEGEND,
    PAIRED,
    PAIRED_LEGEND,
    QUALITY,
    SPEED,
    is_judged,
    paired_cells,
    quality_cells,
    speed_cells,
)
from adec.display.sanitise import sanitise

RUNS = 20_000
"""Answers that the page lists; a browser wants no more, and the JSON has them all."""
TEXT = 600
"""Characters of an answer that are shown."""

WIDTH, HEIGHT = 760, 380


def write_page(report: BenchReport, samples: Iterable[PromptResult], stream: TextIO) -> None:
    """Write the page as it is made: its size does not become memory."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, finalize=_visible
    )
    environment.filters["explain"] = explain
    environment.filters["counted"] = _counted
    source = files("adec.benchmark").joinpath("report.html.jinja").read_text(encoding="utf-8")
    template = environment.from_string(source)
    about = {"task": "", "began": "", "adec": "", **report.about}
    for part in template.generate(
        report=report,
        about=about,
        columns=[*SPEED, *QUALITY],
        cells=lambda row: [*speed_cells(row), *quality_cells(row)],
        legend=LEGEND,
        paired_columns=PAIRED if is_judged(report) else (),
        paired_cells=paired_cells,
        paired_legend=PAIRED_LEGEND,
        drawing=_drawing(report),
        groups=_groups(report),
        facts=list(_facts(about)),
        runs=_runs(samples),
    ):
        stream.write(part)


def _visible(value: Any) -> Any:
    """Control and invisible characters as marks: a page is no safer from them than a terminal."""
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


def _drawing(report: BenchReport) -> dict[str, Any] | None:
    """The chart's places in pixels; None with fewer than two points."""
    found = points(report)
    if len(found) < 2:
        return None
    low, high = min(p.quality for p in found), max(p.quality for p in found)
    if high - low < 0.1:
        low, high = max(0.0, low - 0.05), min(1.0, high + 0.05)
    slowest = max(p.ms for p in found)
    marks = [
        {
            "x": round(60 + (WIDTH - 200) * p.ms / slowest, 1),
            "y": round(28 + (HEIGHT - 76) * (high - p.quality) / (high - low), 1),
            "name": p.row.name,
            "front": p.front,
            "words": f"{p.row.name}: {short(p.ms)} ms a token, {percent(p.quality)}",
        }
        for p in found
    ]
    return {
        "title": f"{quality_name(report)} against time a token",
        "width": WIDTH, "height": HEIGHT, "marks": marks,
        "low": percent(low), "high": percent(high),
        "slowest": f"{short(slowest * (WIDTH - 80) / (WIDTH - 200))} ms",
    }  # fmt: skip


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
                "first": "" if first is None else f"{short(1000 * first)} ms",
                "right": words[answer.right],
                "same": words[answer.same],
                "text": text if len(text) <= TEXT else f"{text[:TEXT]} …",
            }
