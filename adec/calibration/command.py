"""`adec calibrate` behind its options: from the models' names to the profile and the printout."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from adec.answering.choice import Choice
from adec.answering.elsewhere import carried
from adec.answering.placement import place
from adec.answering.plan import DEFAULT_PAIR, Plan, plan, plan_yardstick
from adec.answering.session import open_session
from adec.calibration.canvas.canvas_stages import CanvasCalibration
from adec.calibration.cost_tables import choose_threads
from adec.calibration.helpers import DeskOfCalibration, Helpers
from adec.calibration.journal import Journal
from adec.calibration.journal_place import journal_key, journal_path, where_it_lies
from adec.calibration.prompts import PromptSet, built_in, read_prompts
from adec.calibration.report.front_pictures import check_pictures, write_pictures
from adec.calibration.report.printout import (
    chart,
    legend,
    plot,
    price_table,
    sentence,
    table,
)
from adec.calibration.report.to_profile import Named, profile_text
from adec.calibration.result import Result
from adec.calibration.served.served_stages import ServedCalibration
from adec.calibration.stages import Calibration
from adec.calibration.trials.trial import Metric, Runner
from adec.calibration.unfitted import forecast_lines, unfitted_of
from adec.calibration.wishes import Wishes
from adec.display.progress import Progress
from adec.display.screen.terminal import size_of
from adec.engines.base import EngineName, ModelHeader, OpenOptions
from adec.engines.pair import Engines
from adec.engines.remote import REMOTE_NAME, is_remote
from adec.engines.remote.remote_header import RemoteHeader
from adec.errors import PairError, ProfileError, UsageError
from adec.events.hostile_json import JsonReader
from adec.interrupts import Interrupts
from adec.machine import busy, this_machine
from adec.places import user_profiles
from adec.profiles.read import read_profile
from adec.profiles.schema import Prices
from adec.profiles.write import check_writable, write_profile
from adec.spreading.processes import ProcessCrew
from adec.spreading.ray_cluster import RayCrew

Say = Callable[[str], None]
Threads = Annotated[int, msgspec.Meta(ge=1)] | None

_THREADS: JsonReader[tuple[Threads, Threads]] = JsonReader(tuple[Threads, Threads])

INTERRUPTED = 130
FORECAST_CONTEXT = 256
"""Tokens before the forwards whose times a forecast of unfitted parts rests on."""


@dataclass(frozen=True)
class Request:
    """What a person typed."""

    small: str | None
    large: str | None
    prompts: Path | None
    seed: int
    output: str | None
    svg: Path | None
    png: Path | None
    quiet: bool
    metric: Metric | None
    """None: right answers where they are known, else agreement."""
    wishes: Wishes
    portable: bool = False
    options: OpenOptions = dataclasses.field(default_factory=OpenOptions)
    """As typed, for workers: the threads that are fastest here say nothing of other machines."""
    jobs: int = 1
    ray: str | None = None
    engine: EngineName | None = None


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


def run_calibration(
    request: Request, options: OpenOptions, say: Say, *, origin: str | None = None
) -> int:
    """The whole command; the exit code. `origin`: what else than the command line named the RPC
    servers. Raises AdecError."""
    _check(request.wishes)
    placed = place(_plan(request), options, origin)
    ready, options = placed.plan, placed.options
    far = ready.models["large"]
    served = isinstance(far, RemoteHeader)
    canvas = "canvas" in far.capabilities
    if canvas and request.metric == "perplexity":
        raise UsageError(
            f"--metric perplexity reads answers from left to right, and {far.info.name} is a"
            " diffusion model",
            hint="take agreement or answer",
        )
    if served:
        _check_served(request)
    if options.rpc and (request.ray is not None or request.jobs > 1):
        raise UsageError(
            "RPC servers serve one process, and here several would share the work",
            hint="leave --jobs and --ray out, or give --rpc off",
        )
    name, path = _destination(request, ready)
    check_writable(path)
    check_pictures(request.svg, request.png)
    prompts = _prompts(request)
    metric = request.metric or ("answer" if prompts.answered else "agreement")
    wishes = dataclasses.replace(request.wishes, metric=metric)
    told = [*ready.remarks, *placed.remarks, *prompts.remarks]
    # threads matter to what is computed here
    away = bool(options.rpc) or served
    headers = [h for role, h in ready.models.items() if not (away and role == "large")]
    machine = this_machine(ready.models["large"].info.format)
    warning = busy(machine)
    if warning is not None:
        told.append(warning)
    for remark in told:
        say(remark)
    said = len(told)
    key = journal_key(
        ready, options, prompts, seed=request.seed, max_tokens=request.wishes.max_tokens
    )
    journal = Journal(journal_path(ready), key)
    if journal.resumed:
        say(f"going on where an earlier calibration stopped: {journal.resumed:,} measurements kept")
    try:
        with (
            journal,
            Interrupts() as interrupts,
            Progress(sys.stderr, quiet=request.quiet) as bars,
        ):
            progress = Watched(bars, interrupts)
            progress.stage("threads")
            options = _threads(journal, headers, options, progress.tick)
            machine = dataclasses.replace(
                machine,
                threads=options.threads,
                batch_threads=options.batch_threads,
                rpc=placed.named,
            )
            with open_session(ready, options) as session, ExitStack() as stack:
                machine = dataclasses.replace(machine, dtype=session.engines["large"].dtype)
                runner = Runner(
                    ready,
                    session.engines,
                    max_tokens=wishes.max_tokens,
                    interrupted=lambda: interrupts.asked,
                )
                helpers = _helpers(request, ready, wishes, session.engines, journal, told)
                if helpers is not None:
                    stack.callback(helpers.close)
                parts = runner, prompts, wishes, machine, journal, progress
                if isinstance(far, RemoteHeader):
                    result = ServedCalibration(
                        *parts,
                        place=far.address.place,
                        prices=_prices(path, ready),
                        budget=options.budget_tokens,
                        say=say,
                    ).run()
                elif canvas:
                    result = CanvasCalibration(*parts, helpers=helpers).run()
                else:
                    result = Calibration(*parts, helpers=helpers).run()
    except KeyboardInterrupt:
        say("interrupted; what was measured is kept, and the same command goes on from there")
        return INTERRUPTED
    if warning is not None:
        result.remarks.append(warning)
    result.remarks += told[said:]
    named = _named(request, ready, name, prompts)
    write_profile(path, profile_text(result, named, ready.models))
    journal.remove()
    result.remarks = [remark for remark in result.remarks if remark not in told[:said]]
    _show(result, request, name, path, say, _unfitted(result, request, far))
    return 0


def _unfitted(result: Result, request: Request, large: ModelHeader) -> list[str]:
    """What the large model could learn, for people."""
    if result.server is not None or "large" not in result.tables:
        return []
    curve = result.tables["large"].curve(FORECAST_CONTEXT)
    model = request.large or request.small or "practice:large"
    return forecast_lines(unfitted_of(large, curve), model)


def _helpers(
    request: Request,
    ready: Plan,
    wishes: Wishes,
    engines: Engines,
    journal: Journal,
    told: list[str],
) -> Helpers | None:
    """Workers that answer ahead; None where nobody asked for any. Raises AdecError."""
    if request.ray is None and request.jobs == 1:
        return None

    def tell(line: str) -> None:
        if line not in told:
            told.append(line)

    crew = ProcessCrew(request.jobs) if request.ray is None else RayCrew(request.ray, request.jobs)
    desk = DeskOfCalibration(carried(ready), request.options, wishes.max_tokens, request.jobs)
    return Helpers(crew, desk, len(engines["large"].vocabulary), journal, tell)


def _check_served(request: Request) -> None:
    """Raise UsageError for what a calibration with a server does not do."""
    if request.ray is not None or request.jobs > 1:
        raise UsageError(
            "a calibration with a server is not spread: the bill is kept in one place",
            hint="leave --jobs and --ray out",
        )
    if request.wishes.metric == "perplexity" or request.metric == "perplexity":
        raise UsageError(
            "--metric perplexity has the large model read every answer, which a server charges for",
            hint="take agreement or answer",
        )


def _prices(path: Path, ready: Plan) -> Prices | None:
    """Those of the profile that is written anew, else of the one that fits these models."""
    try:
        return read_profile(path).prices
    except ProfileError:
        return None if ready.profile is None else ready.profile.prices


def _check(wishes: Wishes) -> None:
    if not 0 < wishes.keep <= 1:
        raise UsageError(f"--keep {wishes.keep} is not above 0 and at most 1", hint="1 means exact")
    if not 0.5 <= wishes.confidence < 1:
        raise UsageError(f"--confidence {wishes.confidence} is not from 0.5 to below 1")


def _plan(request: Request) -> Plan:
    """Plain decoding on the models that were named; the strategies to try come later."""
    if request.small is None:
        return plan(Choice(pair=DEFAULT_PAIR, strategy="plain", engine=request.engine))
    if request.large is None:
        if is_remote(request.small):
            raise UsageError(
                f"{request.small} alone leaves nothing to calibrate: only plain runs there",
                hint="give a small model before it: adec calibrate SMALL ADDRESS",
            )
        return plan_yardstick(Choice(model=request.small, engine=request.engine))
    ready = plan(
        Choice(small=request.small, large=request.large, strategy="plain", engine=request.engine)
    )
    if ready.unlike is not None:
        raise PairError(
            f"these two cannot be calibrated together: {ready.unlike}",
            hint="calibrate the large one alone",
        )
    return ready


def _destination(request: Request, ready: Plan) -> tuple[str, Path]:
    """The profile's name and file."""
    wanted = request.output
    if wanted is not None and wanted.endswith(".toml"):
        path = Path(wanted).expanduser()
        return path.stem, path
    if wanted is None:
        wanted = DEFAULT_PAIR if request.small is None else _stem(ready.models["large"])
        if "small" in ready.models and request.small is not None:
            wanted = f"{_stem(ready.models['small'])}+{wanted}"
    if not wanted or wanted.startswith(".") or any(c in wanted for c in "/\\\0\n"):
        raise UsageError(
            f"{wanted!r} is no name for a profile", hint="a word, or a path that ends in .toml"
        )
    return wanted, user_profiles() / f"{wanted}.toml"


def _stem(header: ModelHeader) -> str:
    if header.info.format == REMOTE_NAME:
        return re.sub(r"[^\w.-]+", "-", header.info.name).lstrip(".") or "server"
    path = header.info.path
    return path.stem if path.suffix == ".gguf" else path.name


def _prompts(request: Request) -> PromptSet:
    if request.prompts is None:
        return built_in(request.seed)
    return read_prompts(request.prompts, request.seed, answers=request.metric == "answer")


def _threads(
    journal: Journal,
    headers: Sequence[ModelHeader],
    options: OpenOptions,
    tick: Callable[[float], None],
) -> OpenOptions:
    kept = journal.get("threads", _THREADS)
    if kept is None:
        here = dataclasses.replace(options, rpc=())
        chosen = choose_threads(headers, here, tick) if headers else options
        kept = chosen.threads, chosen.batch_threads
        journal.put("threads", kept)
    return dataclasses.replace(options, threads=kept[0], batch_threads=kept[1])


def _named(request: Request, ready: Plan, name: str, prompts: PromptSet) -> Named:
    """Model names as a profile keeps them: those of the built-in pair, or whole paths."""
    if request.small is None:
        small, large = "practice:small", "practice:large"
        return Named(name, large, small, prompts.source, request.seed, request.portable)
    return Named(
        name,
        portable=request.portable,
        large=where_it_lies(ready.models["large"]),
        small=None if "small" not in ready.models else where_it_lies(ready.models["small"]),
        prompts=prompts.source,
        seed=request.seed,
    )


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
