"""`adec calibrate` behind its options: from the models' names to the profile and the printout."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from adec.answering.elsewhere import carried
from adec.answering.placement import Placed, place
from adec.answering.plan import Plan
from adec.answering.session import open_session
from adec.calibration.canvas.canvas_stages import CanvasCalibration
from adec.calibration.costs.thread_choice import choose_threads
from adec.calibration.helpers import DeskOfCalibration, Helpers
from adec.calibration.journal import Journal
from adec.calibration.journal_place import journal_key, journal_path
from adec.calibration.prompts import PromptSet
from adec.calibration.report.front_pictures import check_pictures, write_pictures
from adec.calibration.report.printout import chart, legend, plot, price_table, sentence, table
from adec.calibration.report.to_profile import profile_text
from adec.calibration.request import Request
from adec.calibration.result import Result
from adec.calibration.served.served_stages import ServedCalibration
from adec.calibration.stages import Calibration
from adec.calibration.trials.trial import Runner
from adec.calibration.unfitted import forecast_lines, unfitted_of
from adec.calibration.wishes import Wishes
from adec.display.progress import Progress
from adec.display.screen.terminal import size_of
from adec.engines.base import ModelHeader, OpenOptions
from adec.engines.pair import Engines
from adec.engines.remote.remote_header import RemoteHeader
from adec.errors import ProfileError
from adec.events.hostile_json import JsonReader
from adec.interrupts import INTERRUPTED, Interrupts
from adec.machine import Machine, busy, this_machine
from adec.profiles.read import read_profile
from adec.profiles.schema import Prices
from adec.profiles.write import check_writable, write_profile
from adec.spreading.processes import ProcessCrew
from adec.spreading.ray_cluster import RayCrew

Say = Callable[[str], None]
Threads = Annotated[int, msgspec.Meta(ge=1)] | None

_THREADS: JsonReader[tuple[Threads, Threads]] = JsonReader(tuple[Threads, Threads])

FORECAST_CONTEXT = 256
"""Tokens before the forwards whose times a forecast of unfitted parts rests on."""


class Watched:
    """A bar for each stage; Ctrl-C ends the stage at the next tick."""

    def __init__(self, bars: Progress, interrupts: Interrupts) -> None:
        self._bars = bars
        self._interrupts = interrupts

    def stage(self, name: str) -> None:
        """A stage begins."""
        self._bars.stage(name, total=1.0)

    def tick(self, share: float) -> None:
        """The stage is so far, 0 to 1. Raises KeyboardInterrupt once Ctrl-C was pressed."""
        if self._interrupts.asked:
            raise KeyboardInterrupt
        self._bars.update(min(1.0, share))


@dataclass(frozen=True)
class _Work:
    """A calibration that nothing forbids, before weights are loaded."""

    request: Request
    placed: Placed
    prompts: PromptSet
    machine: Machine
    journal: Journal
    path: Path
    """Of the profile."""
    say: Say
    seen: list[str]
    """Remarks that a person has seen."""
    later: list[str] = dataclasses.field(default_factory=list)
    """Those of workers, for the end."""

    def tell(self, remark: str) -> None:
        """Show a remark at once."""
        self.seen.append(remark)
        self.say(remark)

    @property
    def ready(self) -> Plan:
        return self.placed.plan

    @property
    def large(self) -> ModelHeader:
        return self.ready.models["large"]

    @property
    def wishes(self) -> Wishes:
        metric = self.request.metric or ("answer" if self.prompts.answered else "agreement")
        return dataclasses.replace(self.request.wishes, metric=metric)


def run_calibration(
    request: Request, options: OpenOptions, say: Say, *, origin: str | None = None
) -> int:
    """The whole command; the exit code. `origin`: what else than the command line named the RPC
    servers. Raises AdecError."""
    request.check()
    placed = place(request.plan(), options, origin)
    ready = placed.plan
    large = ready.models["large"]
    request.check_place(large, rpc=bool(placed.options.rpc))
    name, path = request.destination(ready)
    check_writable(path)
    check_pictures(request.svg, request.png)
    prompts = request.read_prompts()
    machine = this_machine(large.info.format)
    warning = busy(machine)
    seen = [*ready.remarks, *placed.remarks, *prompts.remarks]
    if warning is not None:
        seen.append(warning)
    for remark in seen:
        say(remark)
    journal = _journal(request, placed, prompts)
    if journal.resumed:
        say(f"going on where an earlier calibration stopped: {journal.resumed:,} measurements kept")
    work = _Work(request, placed, prompts, machine, journal, path, say, seen)
    try:
        result = _measure(work)
    except KeyboardInterrupt:
        say("interrupted; what was measured is kept, and the same command goes on from there")
        return INTERRUPTED
    if warning is not None:
        result.remarks.append(warning)
    result.remarks += work.later
    write_profile(path, profile_text(result, request.named(ready, name, prompts), ready.models))
    journal.remove()
    result.remarks = [remark for remark in result.remarks if remark not in seen]
    _show(result, request, name, path, say, _unfitted(result, request, large))
    return 0


def _journal(request: Request, placed: Placed, prompts: PromptSet) -> Journal:
    ready, most = placed.plan, request.wishes.max_tokens
    key = journal_key(ready, placed.options, prompts, seed=request.seed, max_tokens=most)
    return Journal(journal_path(ready), key)


def _measure(work: _Work) -> Result:
    """Open the models and run the stages.

    Raises AdecError, and KeyboardInterrupt with all that was measured in the journal.
    """
    placed = work.placed
    with (
        work.journal,
        Interrupts() as interrupts,
        Progress(sys.stderr, quiet=work.request.quiet) as bars,
    ):
        progress = Watched(bars, interrupts)
        progress.stage("threads")
        options = _with_threads(work, progress.tick)
        with open_session(work.ready, options) as session, ExitStack() as stack:
            machine = dataclasses.replace(
                work.machine,
                threads=options.threads,
                batch_threads=options.batch_threads,
                rpc=placed.named,
                dtype=session.engines["large"].dtype,
            )
            runner = Runner(
                work.ready,
                session.engines,
                max_tokens=work.wishes.max_tokens,
                interrupted=lambda: interrupts.asked,
            )
            helpers = _helpers(work, session.engines)
            if helpers is not None:
                stack.callback(helpers.close)
            return _stages(work, runner, machine, progress, helpers).run()


def _stages(
    work: _Work, runner: Runner, machine: Machine, progress: Watched, helpers: Helpers | None
) -> Calibration:
    """The stages for the kind of the large model."""
    parts = runner, work.prompts, work.wishes, machine, work.journal, progress
    large = work.large
    if isinstance(large, RemoteHeader):
        return ServedCalibration(
            *parts,
            place=large.address.place,
            prices=_prices(work.path, work.ready),
            budget=work.placed.options.budget_tokens,
            say=work.say,
        )
    if "canvas" in large.capabilities:
        return CanvasCalibration(*parts, helpers=helpers, say=work.tell)
    return Calibration(*parts, helpers=helpers)


def _with_threads(work: _Work, tick: Callable[[float], None]) -> OpenOptions:
    """How models are opened, with the threads that are fastest for those computed here."""
    options = work.placed.options
    kept = work.journal.get("threads", _THREADS)
    if kept is None:
        headers = _computed_here(work)
        here = dataclasses.replace(options, rpc=())
        chosen = choose_threads(headers, here, tick) if headers else options
        kept = chosen.threads, chosen.batch_threads
        work.journal.put("threads", kept)
    return dataclasses.replace(options, threads=kept[0], batch_threads=kept[1])


def _computed_here(work: _Work) -> Sequence[ModelHeader]:
    """The models whose layers run on this machine."""
    away = bool(work.placed.options.rpc) or isinstance(work.large, RemoteHeader)
    models = work.ready.models.items()
    return [header for role, header in models if not (away and role == "large")]


def _helpers(work: _Work, engines: Engines) -> Helpers | None:
    """Workers that answer ahead; None where nobody asked for any. Raises AdecError."""
    request, later = work.request, work.later
    if not request.is_spread:
        return None

    def tell(line: str) -> None:
        if line not in later:
            later.append(line)

    crew = ProcessCrew(request.jobs) if request.ray is None else RayCrew(request.ray, request.jobs)
    there, most = carried(work.ready), work.wishes.max_tokens
    desk = DeskOfCalibration(there, request.options, most, request.jobs)
    return Helpers(crew, desk, len(engines["large"].vocabulary), work.journal, tell)


def _prices(path: Path, ready: Plan) -> Prices | None:
    """Those of the profile that is written anew, else of the one that fits these models."""
    try:
        return read_profile(path).prices
    except ProfileError:
        return None if ready.profile is None else ready.profile.prices


def _unfitted(result: Result, request: Request, large: ModelHeader) -> list[str]:
    """What the large model could learn, for people."""
    if result.server is not None or "large" not in result.tables:
        return []
    curve = result.tables["large"].curve(FORECAST_CONTEXT)
    model = request.large or request.small or "practice:large"
    return forecast_lines(unfitted_of(large, curve), model)


def _show(
    result: Result, request: Request, name: str, path: Path, say: Say, unfitted: list[str]
) -> None:
    columns, _ = size_of(sys.stdout)
    shown = request.output if request.output and request.output.endswith(".toml") else name
    width = columns if sys.stdout.isatty() else None
    out = [
        chart(result, columns),
        "",
        table(result, width),
        "",
        legend(columns),
        "",
        *([] if result.server is None else [price_table(result), ""]),
        *([*unfitted, ""] if unfitted else []),
        sentence(result, shown),
    ]
    sys.stdout.write("\n".join(out) + "\n")
    for remark in result.remarks:
        say(remark)
    write_pictures(plot(result).svg(background="white"), request.svg, request.png)
    say(f"the profile is {path}")


def run_check(name: str, options: OpenOptions, *, quiet: bool, origin: str | None = None) -> int:
    """`--check NAME`: print the table. Raises CheckFailed when the profile no longer holds."""
    from adec.calibration.trials.recheck import check_profile

    with (
        Interrupts() as interrupts,
        Progress(sys.stderr, quiet=quiet) as bars,
    ):
        progress = Watched(bars, interrupts)
        progress.stage("forward times")
        found = check_profile(name, options, progress.tick, origin)
    sys.stdout.write("\n".join(found.lines) + "\n")
    sys.stdout.flush()
    sys.stdout.write(found.verdict() + "\n")
    return 0
