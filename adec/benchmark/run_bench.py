"""A whole bench: resume what is there, run the rest, write every prompt down, fold it into a report."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from adec import __version__
from adec.benchmark.bench_report import BenchReport, make_rows
from adec.benchmark.bench_rows import Checked, key_of
from adec.benchmark.caveats import remarks
from adec.benchmark.decoders import Interrupted
from adec.benchmark.runner import machine_load
from adec.benchmark.samples import PromptResult, RowHeader, SamplesFile
from adec.benchmark.tasks.task import Task
from adec.benchmark.tasks.task_sources import TaskSource
from adec.benchmark.totals import Totals
from adec.benchmark.verdict import with_verdicts
from adec.benchmark.workers import Opener, Tell, run_here, run_in_processes
from adec.places import kept_folder

Watch = Callable[[int, int], None]
"""Called with prompts done and planned after each."""


@dataclass(frozen=True)
class BenchRequest:
    """What shall be run and how far it goes."""

    source: TaskSource
    rows: tuple[RowHeader, ...]
    opener: Opener
    header: dict[str, Any]
    """Goes into the samples file; "key" and "prompts" are needed."""
    seed: int = 0
    jobs: int = 1
    tie_gap: float = 0.0
    allow_exec: bool = False


def request_of(checked: Checked, source: TaskSource, *, jobs: int, tie_gap: float) -> BenchRequest:
    """The request of a checked line-up on a source."""
    settings = checked.lineup.settings
    header = {
        "key": key_of(checked, source.identity),
        "adec": __version__,
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
        "task": source.name,
        "prompts": source.count,
        "rows": [row.name for row in checked.rows],
        "machine": machine(),
        **checked.about,
    }
    return BenchRequest(
        source, checked.rows, checked.lineup.open, header,
        settings.seed, jobs, tie_gap, settings.allow_exec,
    )  # fmt: skip


def samples_path(key: str) -> Path:
    """Where the samples of a bench lie while it is not finished."""
    return kept_folder("bench") / f"{key}.jsonl"


def run_bench(
    request: BenchRequest,
    samples: SamplesFile,
    interrupted: Interrupted,
    *,
    watch: Watch = lambda done, planned: None,
    tell: Tell = lambda line: None,
) -> BenchReport:
    """Run what is not done yet. `samples` is open. Raises AdecError; what is written stays."""
    totals = Totals(request.rows, request.seed, request.tie_gap)
    resumed, load = samples.found, machine_load()
    if resumed:
        for result in samples.results():
            totals.add(result)
    watch(totals.prompts, request.source.count)
    unjudged = 0

    def waiting() -> Iterator[Task]:
        nonlocal unjudged
        for task in request.source.begin():
            unjudged += task.runs_code and not request.allow_exec
            if not samples.done[task.index]:
                yield task

    told: list[str] = []

    def remark(line: str) -> None:
        if line not in told:
            told.append(line)
            tell(line)

    with closing(_run(request, waiting(), interrupted, remark)) as results:
        for result in results:
            samples.append(result)
            totals.add(result)
            watch(totals.prompts, request.source.count)
    rows = make_rows(totals, request.seed)
    said = remarks(
        totals, rows, load_before=load, resumed=resumed, jobs=request.jobs, unjudged=unjudged
    )
    left_out = [line for line in told if "left out" in line]
    report = BenchReport(
        request.header, rows, totals.prompts, request.source.count, totals.kept,
        (*left_out, *said),
    )  # fmt: skip
    return with_verdicts(report, totals)


def _run(
    request: BenchRequest, tasks: Iterator[Task], interrupted: Interrupted, tell: Tell
) -> Generator[PromptResult, None, None]:
    if request.jobs == 1:
        return run_here(request.opener, tasks, interrupted, tell)
    return run_in_processes(request.opener, tasks, request.jobs, interrupted, tell)


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }
