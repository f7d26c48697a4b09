"""`adec inspect`: look inside traces, profiles, models and pairs; show settings and machine."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adec.cli import options as shared
from adec.cli.failures import report
from adec.display import ColourWish
from adec.errors import TraceError, UsageError

if TYPE_CHECKING:
    from adec.events.records import Event
    from adec.inspection.recognise import Thing, Trace
    from adec.inspection.sheet import Block, Report
    from adec.inspection.traces.rows import Rows

traces = functools.partial(typer.Option, rich_help_panel="Traces")
PIPE_COLUMNS = 100
"""Width of a trace's text in a pipe."""


def inspect(
    things: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="THING",
            help="A trace, profile, model or two models; models, config, env or remembered."
            " - reads one.",
            show_default=False,
        ),
    ] = None,
    pair: shared.Pair = None,
    small: shared.Small = None,
    large: shared.Large = None,
    step: Annotated[
        int | None, traces("--step", metavar="N", min=1, help="Show one step, with its token tree.")
    ] = None,
    html: Annotated[
        Path | None, traces("--html", metavar="FILE", help="Write an interactive page.")
    ] = None,
    svg: Annotated[
        Path | None, traces("--svg", metavar="FILE", help="Write a picture of the live display.")
    ] = None,
    replay: Annotated[bool, traces("--replay", help="Play it back as it was written.")] = False,
    speed: Annotated[
        float | None,
        traces("--speed", min=0.01, max=1e6, help="Play it back this many times as fast."),
    ] = None,
    json: Annotated[bool, shared.output("--json", help="Print one JSON object.")] = False,
    color: Annotated[ColourWish, shared.output("--color", help="Colour the output.")] = "auto",
    forget: Annotated[
        bool,
        typer.Option("--forget", help="With remembered: delete the answers that were kept."),
    ] = False,
    context: Annotated[
        int | None,
        shared.machine(
            "--ctx",
            min=1,
            help="Context for a model's memory, in tokens. Default: what a run reserves.",
        ),
    ] = None,
    key_file: shared.KeyFile = None,
    devices: Annotated[
        bool, shared.machine("--devices", help="With env: ask the backends for devices (slow).")
    ] = False,
    rpc: Annotated[
        str | None,
        shared.machine("--rpc", metavar="HOST:PORT,…", help="With env: ask these RPC servers."),
    ] = None,
) -> int:
    """Look inside a trace, a profile, a model, a server or a pair; show settings and machine.

    \b
    Examples:
      adec inspect run.jsonl --html run.html
      adec inspect practice:large
      adec inspect small.gguf large.gguf
      adec inspect small.gguf http://127.0.0.1:8080/v1
    """
    from adec.inspection.recognise import Trace, recognise

    thing = recognise(tuple(things or ()), pair=pair, small=small, large=large)
    views = {
        "--step": step is not None,
        "--html": html is not None,
        "--svg": svg is not None,
        "--replay": replay,
    }
    chosen = [name for name, wanted in views.items() if wanted]
    typed_rpc = rpc is not None and shared.MachineOptions(rpc=rpc).rpc_origin is None
    _check(thing, chosen, json=json, speed=speed, devices=devices, forget=forget, rpc=typed_rpc)
    screen = _Screen(color)
    if thing == "remembered":
        from adec.inspection.remembered_report import forget_remembered, inspect_remembered

        screen.print(forget_remembered() if forget else inspect_remembered(), json=json)
        return 0
    if not isinstance(thing, Trace):
        found = _report(thing, context, pair, screen.width, devices=devices, rpc=rpc)
        screen.print(found, json=json)
        return 0
    if step is not None:
        from adec.inspection.traces.step_report import inspect_step

        screen.print(inspect_step(_events(thing), step), json=json)
        return 0
    if html is not None:
        return _write_page(thing, html)
    if svg is not None:
        return _write_picture(thing, svg)
    if replay:
        return _replay(thing, color, speed or 1.0)
    return _show_trace(thing, screen, json=json)


def _check(
    thing: Thing,
    chosen: list[str],
    *,
    json: bool,
    speed: float | None,
    devices: bool,
    forget: bool,
    rpc: bool,
) -> None:
    """Raise UsageError for flags that do not apply, or not together."""
    from adec.inspection.recognise import Trace

    if chosen and not isinstance(thing, Trace):
        raise UsageError(
            f"{chosen[0]} is for traces", hint="give a trace that adec run --trace wrote"
        )
    if json and chosen and chosen != ["--step"]:
        chosen = ["--json", *chosen]
    if len(chosen) > 1 and chosen != ["--step"]:
        raise UsageError(f"{' and '.join(chosen)} exclude each other")
    if speed is not None and chosen != ["--replay"]:
        raise UsageError("--speed has no effect without --replay")
    if forget and thing != "remembered":
        raise UsageError("--forget has no effect here", hint="adec inspect remembered --forget")
    if devices and thing != "env":
        raise UsageError("--devices has no effect here", hint="adec inspect env --devices")
    if rpc and thing != "env":
        raise UsageError(
            "--rpc has no effect here: only env asks servers who they are",
            hint="try: adec inspect env --rpc HOST:PORT",
        )


def _report(
    thing: Thing,
    context: int | None,
    pair: str | None,
    width: int | None,
    *,
    devices: bool,
    rpc: str | None,
) -> Report:
    from adec.inspection.recognise import Distant, Model, Pair
    from adec.profiles.schema import Profile

    if isinstance(thing, Distant):
        from adec.inspection.remote_report import inspect_remote

        return inspect_remote(thing.address, thing.small)
    if isinstance(thing, Model):
        from adec.inspection.model_report import inspect_model

        return inspect_model(thing.name, context)
    if isinstance(thing, Pair):
        from adec.inspection.pair_report import inspect_pair

        return inspect_pair(thing.small, thing.large, thing.profile, context)
    if isinstance(thing, Profile):
        from adec.inspection.profile_report import inspect_profile

        return inspect_profile(thing) if width is None else inspect_profile(thing, width)
    if thing == "models":
        from adec.inspection.model_list import inspect_models

        return inspect_models()
    if thing == "config":
        from adec.inspection.environment import inspect_config

        return inspect_config(pair or "practice")
    from adec.inspection.environment import inspect_environment

    return inspect_environment(deep=devices, rpc=rpc)


def _show_trace(trace: Trace, screen: _Screen, *, json: bool) -> int:
    from adec.inspection.traces.trace_report import look_through, report_trace

    events = _events(trace)
    if not json:
        look_through(events, screen.rows(), screen.write, screen.show)
        return 0
    data = report_trace(events)
    screen.print_json(data)
    if "error" not in data:
        return 0
    report(data["error"])
    return TraceError.exit_code


def _write_page(trace: Trace, path: Path) -> int:
    from adec.inspection.traces.trace_page import Page

    page = Page()
    page.read(_events(trace))
    _write_whole(path, page.html)
    if page.trouble is None:
        return 0
    report(f"{page.trouble} (the page holds what came before)")
    return TraceError.exit_code


def _write_picture(trace: Trace, path: Path) -> int:
    from adec.display.screen.svg import svg_of

    _write_whole(path, svg_of(_events(trace), title=f"adec run {path.stem}"))
    return 0


def _write_whole(path: Path, text: str) -> None:
    from adec.whole_file import whole_file

    try:
        with whole_file(path) as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error


def _replay(trace: Trace, wish: ColourWish, speed: float) -> int:
    from adec.display.display_choice import DisplayFlags, choose_display
    from adec.display.trace_file import replay

    replay(_events(trace), choose_display(DisplayFlags(colour=wish)), speed)
    return 0


def _events(trace: Trace) -> Iterator[Event]:
    from adec.events.codec import read_lines, read_trace

    return read_lines(sys.stdin.buffer) if trace.path is None else read_trace(trace.path)


class _Screen:
    """Stdout, with the width and colours that flags and terminal allow."""

    def __init__(self, wish: ColourWish) -> None:
        from adec.display.display_choice import colour_wanted, is_terminal
        from adec.display.screen.terminal import size_of

        self._terminal = is_terminal(sys.stdout)
        self._colour = colour_wanted(wish, sys.stdout, os.environ)
        self.width = size_of(sys.stdout)[0] if self._terminal else None

    def print(self, report: Report, *, json: bool) -> None:
        """Write a report, for people or for programs."""
        if json:
            self.print_json(report.data)
            return
        from adec.inspection.sheet import show

        show(report.blocks, sys.stdout, colour=self._colour, width=self.width)

    def print_json(self, data: dict[str, Any]) -> None:
        """Write one JSON object."""
        from adec.events.hostile_json import dumps, to_plain

        self.write(dumps(to_plain(data)) + "\n")

    def show(self, block: Block) -> None:
        """Write one block of a report."""
        from adec.inspection.sheet import show

        show([block], sys.stdout, colour=self._colour, width=self.width)

    def rows(self) -> Rows:
        """For the text of a trace. A pipe gets letters instead of escape sequences."""
        from adec.inspection.traces.rows import Rows

        smart = os.environ.get("TERM", "") not in ("", "dumb", "unknown")
        escapes = self._colour or (self._terminal and smart)
        return Rows(self.width or PIPE_COLUMNS, escapes=escapes, colour=self._colour)

    def write(self, text: str) -> None:
        """Write text that is sanitised already."""
        from adec.display.streams import write

        write(sys.stdout, text)
