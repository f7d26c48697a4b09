"""`adec inspect`: a look inside a trace, a profile, a model, a pair, the settings or the machine."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from adec.cli import options as shared
from adec.display import ColourWish

if TYPE_CHECKING:
    from adec.inspection.sheet import Report
    from adec.inspection.thing import Thing


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
      adec inspect practice:large
      adec inspect small.gguf large.gguf
      adec inspect env
    """
    from adec.inspection.thing import recognise

    thing = recognise(tuple(things or ()), pair=pair, small=small, large=large)
    _print(_report(thing, context), json=json, wish=color)
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


def _print(report: Report, *, json: bool, wish: ColourWish) -> None:
    import os

    from adec.display.choose import colour_wanted, is_terminal
    from adec.display.output import write
    from adec.display.terminal import size_of
    from adec.event_json import dumps, plain_data
    from adec.inspection.sheet import show

    if json:
        write(sys.stdout, dumps(plain_data(report.data)) + "\n")
        return
    width = size_of(sys.stdout)[0] if is_terminal(sys.stdout) else None
    show(
        report.blocks,
        sys.stdout,
        colour=colour_wanted(wish, sys.stdout, os.environ),
        width=width,
    )
