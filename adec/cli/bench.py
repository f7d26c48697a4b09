"""`adec bench`: strategies and peers side by side, and whether they are worth it here."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from adec.cli import options as shared
from adec.cli.failures import report
from adec.cli.option_groups import grouped
from adec.display import ColourWish
from adec.errors import CheckFailed
from adec.interrupts import INTERRUPTED, Interrupts

if TYPE_CHECKING:
    from adec.benchmark.bench_report import BenchReport

tasks = functools.partial(typer.Option, rich_help_panel="Tasks and runs")


@grouped
def bench(
    pair: shared.Pair = None,
    small: shared.Small = None,
    large: shared.Large = None,
    model: shared.Model = None,
    strategies: Annotated[
        str | None,
        shared.models(
            "--strategies",
            metavar="NAMES",
            help="all, or names with commas between, such as auto,ead:up=0.3+window=1. "
            "best-of-n follows adadec.",
        ),
    ] = None,
    assignments: shared.Assignments = None,
    exactness: shared.Exactness = "rounding",
    peers: Annotated[
        str,
        shared.models(
            "--peers",
            metavar="NAMES",
            help="auto: those that are there; none; or names with commas between.",
        ),
    ] = "auto",
    peer_path: Annotated[
        list[Path] | None,
        shared.models(
            "--peer-path",
            metavar="PATH",
            help="Where llama.cpp's programs lie, besides the PATH. May be repeated.",
        ),
    ] = None,
    task: Annotated[
        list[str] | None,
        tasks(
            "--task",
            metavar="FILE",
            help="practice, a family of it, dependence, parallelbench, or a file of prompts. "
            "May be repeated.",
        ),
    ] = None,
    prompts: Annotated[
        int | None,
        tasks(
            "--prompts",
            min=1,
            max=10_000_000,
            help="Prompts of each task at most. Default: 50; all of a file.",
        ),
    ] = None,
    runs: Annotated[
        int, tasks("--runs", min=1, max=1000, help="Times that each row answers a prompt.")
    ] = 1,
    jobs: Annotated[
        int,
        tasks(
            "--jobs",
            min=1,
            max=256,
            help="Processes that share the work; with --ray, on each machine.",
        ),
    ] = 1,
    ray: Annotated[
        str | None,
        tasks(
            "--ray",
            metavar="ADDRESS",
            help="Spread prompts over a Ray cluster, HOST:PORT; local starts one here.",
        ),
    ] = None,
    allow_exec: Annotated[
        bool,
        tasks(
            "--allow-exec",
            help="Run code that models wrote, and commands of a task file, to judge replies.",
        ),
    ] = False,
    system: Annotated[
        str | None,
        tasks("--system", metavar="TEXT", help="System message, for models that take one."),
    ] = None,
    raw: Annotated[
        bool, tasks("--raw", help="Feed prompts as they are, without the chat template.")
    ] = False,
    check: Annotated[
        Literal["noise", "bitwise"] | None,
        tasks(
            "--check",
            help="Fail (exit code 4) if an exact strategy's tokens are not plain's and the "
            "measured rounding does not explain it. --check=bitwise: fail at any difference.",
        ),
    ] = None,
    tie_gap: Annotated[
        float,
        tasks(
            "--tie-gap",
            min=0.0,
            max=10.0,
            help="Differences of logits up to this count as ties, not as failures.",
        ),
    ] = 0.0,
    sampling: shared.SamplingOptions = shared.SEEDED,
    json: Annotated[
        str | None,
        shared.output(
            "--json",
            metavar="FILE",
            help="Write everything, each sample too; - for standard output.",
        ),
    ] = None,
    csv: Annotated[
        str | None,
        shared.output("--csv", metavar="FILE", help="Write the table; - for standard output."),
    ] = None,
    html: Annotated[
        Path | None,
        shared.output(
            "--html", metavar="FILE", help="Write one page with chart, table and every run."
        ),
    ] = None,
    samples: Annotated[
        Path | None,
        shared.output(
            "--samples",
            metavar="FILE",
            help="Keep the samples there; a stopped bench goes on from it.",
        ),
    ] = None,
    fresh: Annotated[
        bool, shared.output("--fresh", help="Start over instead of going on with a stopped bench.")
    ] = False,
    color: Annotated[ColourWish, shared.output("--color", help="Colour the table.")] = "auto",
    quiet: shared.Quiet = False,
    machine: shared.MachineOptions = shared.ANY_MACHINE,
) -> int:
    """Measure strategies on your machine and your prompts: time, quality, and what is worth it.

    \b
    Examples:
      adec bench --prompts 20
      adec bench --small small.gguf --large large.gguf --strategies all --task my-prompts.jsonl
      adec bench --strategies speculate,lookup --check --json bench.json --html bench.html
    """
    from adec.answering.choice import Choice
    from adec.benchmark.bench_rows import plan_bench
    from adec.benchmark.run_bench import request_of, run_bench, samples_path
    from adec.benchmark.runner import BenchSettings
    from adec.benchmark.samples import SamplesFile
    from adec.benchmark.tasks.task_sources import find_source
    from adec.cli.bench_output import Outputs, share_cores
    from adec.display.progress import Progress
    from adec.errors import UsageError
    from adec.spreading.ray_cluster import RayCrew

    if check and sampling.temperature > 0:
        raise UsageError(
            "--check compares tokens, and sampled ones are exact in distribution only",
            hint="leave --temp out",
        )
    if check == "bitwise" and tie_gap > 0:
        raise UsageError(
            "--check=bitwise knows no ties, and --tie-gap makes some", hint="give one of them"
        )
    sampler = sampling.sampler()
    outputs = Outputs(json, csv, html, color)
    outputs.check()
    settings = BenchSettings(
        runs=runs,
        seed=sampler.seed,
        max_tokens=sampling.max_tokens,
        sampler=sampler,
        system=None if system is None else sampling.typed(system),
        raw=raw,
        stop=sampling.stops,
        allow_exec=allow_exec,
    )
    crew = None
    if ray is not None:
        if peers not in ("auto", "none"):
            raise UsageError("peers run on this machine only", hint="leave --peers or --ray out")
        peers, crew = "none", functools.partial(RayCrew, ray, jobs)
    options = machine.open_options(threads=share_cores(jobs) if ray is None else None)
    choice = Choice(
        pair, small, large, model, None, tuple(assignments or ()), exactness=exactness,
        engine=machine.engine,
    )  # fmt: skip
    plan = plan_bench(
        choice, strategies, options, settings, peers, tuple(peer_path or ()), machine.rpc_origin
    )
    source = find_source(task or ["practice"], prompts, sampler.seed)
    request = request_of(
        plan, source, jobs=jobs, tie_gap=tie_gap, strict=check == "bitwise", crew=crew
    )
    path = samples or samples_path(request.header["key"])
    if not quiet:
        for remark in plan.remarks:
            report(remark)
    with SamplesFile(path, request.header, fresh=fresh) as kept:
        if kept.found and not quiet:
            report(f"going on after {kept.found} of {source.count} prompts; --fresh starts over")
        bar = Progress(sys.stderr, quiet=quiet, unit="prompts", erase=True)
        with Interrupts() as interrupts, bar as progress:
            progress.stage("loading")

            def watch(done: int, planned: int) -> None:
                progress.update(done, planned)
                progress.rename("running" if done else "loading")

            result = run_bench(
                request, kept, lambda: interrupts.asked, watch=watch, tell=progress.rename
            )
        outputs.write(result, kept)
        complete = result.done == result.planned
        if complete and samples is None:
            kept.remove()
    return _exit_code(result, check is not None, interrupts.asked, quiet)


def _exit_code(result: BenchReport, check: bool, interrupted: bool, quiet: bool) -> int:
    if check and result.unlike:
        raise CheckFailed(
            f"the check failed: answers of exact strategies that are not plain's: {result.unlike}",
            hint="the first differences stand under the table",
        )
    if interrupted and result.done < result.planned:
        if not quiet:
            report("stopped; the same command goes on from here")
        return INTERRUPTED
    if check and not quiet:
        from adec.display.wording import count

        ties = count(result.ties, "difference")
        within = f", {ties} within the measured noise" if result.ties else ""
        report(f"the check passed on {count(result.done, 'prompt')}{within}")
    return 0
