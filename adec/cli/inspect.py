"""`adec inspect`: a look inside a trace, a profile, a model, a pair, the settings or the machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adec.cli import options as shared
from adec.cli.failures import report
from adec.display import ColourWish
from adec.errors import TraceError, UsageError

if TYPE_CHECKING:
    from adec.events import Event
    from adec.inspection.rows import Rows
    from adec.inspection.sheet import Block, Report
    from adec.inspection.thing import Thing, Trace

TRACES = "Traces"
PIPE_COLUMNS = 100
"""Characters of a trace's text in a row where there is no terminal."""


def inspect(
    things: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="THING",
            help="A trace, a profile, a model, two models, config, or env. - reads a trace from standard input.",
            show_default=False,
        ),
    ] = None,
    pair: shared.Pair = None,
    small: shared.Small = None,
    large: shared.Large = None,
    context: Annotated[
        int | None,
        typer.Option(
            "--ctx",
            min=1,
            help="Tokens of context for the memory estimate. Default: what a run reserves.",
            rich_help_panel=shared.MACHINE,
        ),
    ] = None,
    step: Annotated[
        int | None,
        typer.Option(
            "--step",
            metavar="N",
            min=1,
            help="One step of a trace in full, with its token tree.",
            rich_help_panel=TRACES,
        ),
    ] = None,
    json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON object.", rich_help_panel=shared.OUTPUT),
    ] = False,
    color: Annotated[
        ColourWish,
        typer.Option("--color", help="Colour the output.", rich_help_panel=shared.OUTPUT),
    ] = "auto",
) -> int:
    """Look inside a trace, a profile, a model, or a pair; or see the settings and the machine.

    \b
    Examples:
      adec inspect run.jsonl
      adec inspect practice:large
      adec inspect small.gguf large.gguf
    """
    from adec.inspection.thing import Trace, recognise

    thing = recognise(tuple(things or ()), pair=pair, small=small, large=large)
    screen = _Screen(color)
    if isinstance(thing, Trace):
        return _trace(thing, screen, step=step, json=json)
    if step is not None:
        raise UsageError("--step is for traces", hint="give a trace that adec run --trace wrote")
    screen.print(_report(thing, context), json=json)
    return 0


def _report(thing: Thing, context: int | None) -> Report:
    from adec.inspection.thing import Model, Pair

    if isinstance(thing, Model):
        from adec.inspection.model import inspect_model

        return inspect_model(thing.name, context)
    if isinstance(thing, Pair):
        from adec.inspection.pair import inspect_pair

        return inspect_pair(thing.small, thing.large, thing.profile, context)
    raise NotImplementedError


def _trace(trace: Trace, screen: _Screen, *, step: int | None, json: bool) -> int:
    from adec.inspection.step import inspect_step
    from adec.inspection.trace import look_through, report_trace

    events = _events(trace)
    if step is not None:
        screen.print(inspect_step(events, step), json=json)
    elif json:
        data = report_trace(events)
        screen.print_json(data)
        if "error" in data:
            report(data["error"])
            return TraceError.exit_code
    else:
        look_through(events, screen.rows(), screen.write, screen.show)
    return 0


def _events(trace: Trace) -> Iterator[Event]:
    from adec.event_json import read_lines, read_trace

    return read_lines(sys.stdin.buffer) if trace.path is None else read_trace(trace.path)


class _Screen:
    """Stdout as the flags and the terminal make it."""

    def __init__(self, wish: ColourWish) -> None:
        from adec.display.choose import colour_wanted, is_terminal
        from adec.display.terminal import size_of

        self._terminal = is_terminal(sys.stdout)
        self._colour = colour_wanted(wish, sys.stdout, os.environ)
        self._width = size_of(sys.stdout)[0] if self._terminal else None

    def print(self, report: Report, *, json: bool) -> None:
        """A report, for people or for programs."""
        if json:
            self.print_json(report.data)
            return
        from adec.inspection.sheet import show

        show(report.blocks, sys.stdout, colour=self._colour, width=self._width)

    def print_json(self, data: dict[str, Any]) -> None:
        """One object."""
        from adec.event_json import dumps, plain_data

        self.write(dumps(plain_data(data)) + "\n")

    def show(self, block: Block) -> None:
        """One block of a report."""
        from adec.inspection.sheet import show

        show([block], sys.stdout, colour=self._colour, width=self._width)

    def rows(self) -> Rows:
        """For the text of a trace. Signs are escape sequences too, so a pipe gets letters unless colour was asked for."""
        from adec.inspection.rows import Rows

        smart = os.environ.get("TERM", "") not in ("", "dumb", "unknown")
        escapes = self._colour or (self._terminal and smart)
        return Rows(self._width or PIPE_COLUMNS, escapes=escapes, colour=self._colour)

    def write(self, text: str) -> None:
        """Text that is safe already."""
        from adec.display.output import write

        write(sys.stdout, text)
