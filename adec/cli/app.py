"""The command tree."""

from __future__ import annotations

from typing import Annotated

import typer

from adec import __version__
from adec.cli.bench import bench
from adec.cli.calibrate import calibrate
from adec.cli.failures import command
from adec.cli.inspect import inspect
from adec.cli.run import run

app = typer.Typer(
    name="adec",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"adec {__version__}")
        raise typer.Exit


@app.callback()
def adec(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Adaptive decoding for local language models: no more computation than the text deserves.

    Start with:  adec run "Anna has 81 eggs. She collects 95 eggs. How many eggs has Anna?"
    """


app.command("run", no_args_is_help=False)(command(run))
app.command("calibrate", no_args_is_help=False)(command(calibrate))
app.command("bench", no_args_is_help=False)(command(bench))
app.command("inspect", no_args_is_help=False)(command(inspect))
