"""A whole bench: resume what is there, run the rest, write every prompt down, sum it up."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from adec import __version__
from adec.benchmark.bench_report import BenchReport, make_rows, workers_of
from adec.benchmark.bench_rows import BenchPlan
from adec.benchmark.caveats import caveats
from adec.benchmark.decoders import Interrupted
from adec.benchmark.runner import machine_load
from adec.benchmark.samples import RowHeader, SamplesFile
from adec.benchmark.tasks.task import Task
from adec.benchmark.tasks.task_sources import TaskSource
from adec.benchmark.totals import Totals
from adec.benchmark.verdict import with_verdicts
from adec.benchmark.workers import Opener, Tell, run_here, run_spread
from adec.errors import UsageError
from adec.places import kept_folder
from adec.spreading.crew import Crew
from adec.spreading.processes import ProcessCrew

Watch = Callable[[int, int], None]
"""Called with the numbers of prompts done and planned after each prompt."""


@dataclass(frozen=True)
class BenchRequest:
    """What shall be run, and how."""

    source: TaskSource
    rows: tuple[RowHeader, ...]
    opener: Opener
    header: dict[str, Any]
    """Goes into the samples file; "key" and "prompts" are needed."""
    seed: int = 0
    jobs: int = 1
    tie_gap: float = 0.0
    strict: bool = False
    """Whether no difference counts as a tie, however close the logits were."""
    allow_exec: bool = False
    crew: Callable[[], Crew] | None = None
    """Workers elsewhere; None: this process, or as many as `jobs`."""


def request_of(
    plan: BenchPlan,
    source: TaskSource,
    *,
    jobs: int,
    tie_gap: float,
    strict: bool = False,
    crew: Callable[[], Crew] | None = None,
) -> BenchRequest:
    """The request to run a plan's rows on the tasks of a source. Raises UsageError."""
    if plan.options.rpc and (jobs > 1 or crew is not None):
        raise UsageError(
            "RPC servers serve one process, and here several would share the work",
            hint="leave --jobs and --ray out, or give --rpc off",
        )
    header = {
        "key": plan.key(source.identity),
        "adec": __version__,
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
        "task": source.name,
        "prompts": source.count,
        "rows": [row.name for row in plan.rows],
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "cores": os.cpu_count(),
            "python": platform.python_version(),
        },
        **plan.about,
    }
    opener = plan.open if crew is None else plan.for_elsewhere(jobs).open
    return BenchRequest(
        source, plan.rows, opener, header,
        plan.settings.seed, jobs, tie_gap, strict, plan.settings.allow_exec, crew,
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
    totals = Totals(request.rows, request.seed, request.tie_gap, strict=request.strict)
    resumed, load = samples.found, None if request.crew is not None else machine_load()
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

    lines: list[str] = []

    def tell_once(line: str) -> None:
        # each process says it
        if line not in lines:
            lines.append(line)
            tell(line)

    if request.crew is None and request.jobs == 1:
        running = run_here(request.opener, waiting(), interrupted, tell_once)
    else:
        crew = ProcessCrew(request.jobs) if request.crew is None else request.crew()
        running = run_spread(crew, request.opener, waiting(), interrupted, tell_once)
    with closing(running) as results:
        for result in results:
            samples.append(result)
            totals.add(result)
            watch(totals.prompts, request.source.count)
    rows = make_rows(totals, request.seed)
    notes = [line for line in lines if "left out" in line or " died" in line]
    notes += caveats(
        totals, rows, load_before=load, resumed=resumed, jobs=request.jobs, unjudged=unjudged
    )
    report = BenchReport(
        request.header, rows, totals.prompts, request.source.count, totals.kept, tuple(notes),
        workers_of(totals),
    )  # fmt: skip
    return with_verdicts(report, totals)
