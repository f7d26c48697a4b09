"""`adec calibrate`: measure machine and models, fit thresholds, prove a budget, save a profile."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from adec.cli import options as shared
from adec.cli.failures import report
from adec.cli.option_groups import grouped

FITTING = "What is asked"


@grouped
def calibrate(
    small: Annotated[
        str | None,
        typer.Argument(
            metavar="SMALL", help="The small model; or the only one.", show_default=False
        ),
    ] = None,
    large: Annotated[
        str | None,
        typer.Argument(
            metavar="LARGE",
            help="The large model; http://HOST:PORT/v1#MODEL asks a server.",
            show_default=False,
        ),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(
            "--prompts",
            metavar="FILE",
            help="One prompt a line, or JSON lines with prompt and answer. Default: built-in "
            "problems.",
            rich_help_panel=FITTING,
        ),
    ] = None,
    keep: Annotated[
        float,
        typer.Option("--keep", help="Quality to be kept; 1 is exact.", rich_help_panel=FITTING),
    ] = 0.97,
    metric: Annotated[
        Literal["agreement", "answer", "perplexity"] | None,
        typer.Option(
            "--metric",
            help="Quality: tokens equal to the large model's, right answers, or its perplexity. "
            "Default: answer where they are known, else agreement.",
            show_default=False,
            rich_help_panel=FITTING,
        ),
    ] = None,
    confidence: Annotated[
        float,
        typer.Option(
            "--confidence", help="Confidence level of the proof.", rich_help_panel=FITTING
        ),
    ] = 0.95,
    time_limit: Annotated[
        str,
        typer.Option(
            "--time-limit",
            metavar="TIME",
            help="About how long it may take, such as 90s, 5m or 1h.",
            rich_help_panel=FITTING,
        ),
    ] = "5m",
    seed: Annotated[
        int,
        typer.Option(
            "--seed",
            "-s",
            help="Seed of the built-in prompts and of the split into two halves.",
            rich_help_panel=FITTING,
        ),
    ] = 0,
    max_tokens: shared.MaxTokens = 256,
    fit: Annotated[
        Literal[
            "drop",
            "quantise",
            "exits",
            "sec",
            "first",
            "neurons",
            "filter",
            "ppd",
            "hidden-transfer",
            "lexical",
        ]
        | None,
        typer.Option(
            "--fit",
            help="Fit something else than thresholds. drop, quantise: write a smaller model, "
            "without some blocks or with a type for each tensor (-o FILE.gguf). Any other: learn a "
            "part of one model from its own answers, for the strategy of that name; filter is "
            "learn2pd's.",
            show_default=False,
            rich_help_panel=FITTING,
        ),
    ] = None,
    form: Annotated[
        Literal["linear", "feedforward", "mamba"],
        typer.Option(
            "--form",
            help="With --fit exits or sec: the form of the classifiers that it learns.",
            rich_help_panel=FITTING,
        ),
    ] = "linear",
    jobs: Annotated[
        int,
        typer.Option(
            "--jobs",
            min=1,
            max=256,
            help="Processes that answer ahead where nothing is timed (answers to fit on, most of "
            "the proof); with --ray, on each machine.",
            rich_help_panel=FITTING,
        ),
    ] = 1,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            metavar="ADDRESS",
            help="Let a Ray cluster do that, HOST:PORT; local starts one here. All that is timed "
            "runs on this machine.",
            rich_help_panel=FITTING,
        ),
    ] = None,
    leave_out: Annotated[
        str | None,
        typer.Option(
            "--leave-out",
            metavar="BLOCKS",
            help="With --fit drop: how many blocks, such as 4 or 1/8, or which, such as 3,10,11. "
            "Default: 1/8.",
            show_default=False,
            rich_help_panel=FITTING,
        ),
    ] = None,
    halves: Annotated[
        bool,
        typer.Option(
            "--halves",
            help="With --fit drop: leave out attention and feed-forward parts one by one, so many "
            "of each, or those named (a3,a10,f4).",
            rich_help_panel=FITTING,
        ),
    ] = False,
    bits: Annotated[
        str | None,
        typer.Option(
            "--bits",
            metavar="BITS",
            help="With --fit quantise: bits a weight, such as 4.5, or as many as one of "
            "llama.cpp's types takes, such as Q4_K_M. Default: 4.5.",
            show_default=False,
            rich_help_panel=FITTING,
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="NAME",
            help="Name of the profile, or a path that ends in .toml; with --fit drop or quantise "
            "one that ends in .gguf.",
            rich_help_panel=shared.OUTPUT,
        ),
    ] = None,
    check: Annotated[
        str | None,
        typer.Option(
            "--check",
            metavar="NAME",
            help="Measure a profile's forward times again and compare.",
            rich_help_panel=shared.OUTPUT,
        ),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            "--svg",
            metavar="FILE",
            help="Write the front as a picture too.",
            rich_help_panel=shared.OUTPUT,
        ),
    ] = None,
    png: Annotated[
        Path | None,
        typer.Option(
            "--png",
            metavar="FILE",
            help="The same as PNG; needs pip install resvg-py.",
            rich_help_panel=shared.OUTPUT,
        ),
    ] = None,
    portable: Annotated[
        bool,
        typer.Option(
            "--portable",
            help="Leave out what holds on this machine only, to give the profile away with the "
            "models.",
            rich_help_panel=shared.OUTPUT,
        ),
    ] = False,
    quiet: shared.Quiet = False,
    machine: shared.MachineOptions = shared.ANY_MACHINE,
) -> int:
    """Measure what pays here, fit thresholds, prove what they keep, and save it as a profile.

    \b
    Examples:
      adec calibrate
      adec calibrate small.gguf large.gguf --prompts mine.txt --keep 0.97 -o mine
      adec calibrate small.gguf http://192.168.1.7:8080/v1 --budget-tokens 200000
      adec calibrate --check mine
      adec calibrate large.gguf --fit drop --leave-out 1/4 --prompts mine.txt -o draft.gguf
      adec calibrate large.gguf --fit quantise --bits 4.5 --prompts mine.txt -o smaller.gguf
      adec calibrate practice:large-torch --fit exits
      adec calibrate large.gguf --fit ppd --time-limit 30m
    """
    # numpy and all that needs it wait until something is measured: help answers at once
    from adec.calibration.command import run_calibration, run_check
    from adec.calibration.request import Request
    from adec.calibration.wishes import Wishes
    from adec.engines.remote import is_remote
    from adec.errors import UsageError
    from adec.sampling import fresh_seed

    options = machine.open_options()
    say = (lambda line: None) if quiet else report
    if check is not None:
        return run_check(check, options, quiet=quiet, origin=machine.rpc_origin)
    if fit != "drop" and leave_out is not None:
        raise UsageError("--leave-out has no effect without --fit drop")
    if fit != "drop" and halves:
        raise UsageError("--halves has no effect without --fit drop")
    if fit != "quantise" and bits is not None:
        raise UsageError("--bits has no effect without --fit quantise")
    if fit in ("drop", "quantise"):
        from adec.calibration.compress.drop_command import run_drop
        from adec.calibration.compress.quantise_command import run_quantise
        from adec.calibration.compress.smaller_model import SmallerModel

        if small is None or large is not None:
            raise UsageError(
                f"--fit {fit} is for one model",
                hint=f"adec calibrate MODEL --fit {fit} -o FILE.gguf",
            )
        if is_remote(small):
            raise UsageError(f"{small} is a server: it cannot be made smaller from here")
        smaller = SmallerModel(
            small, output, prompts, fresh_seed() if seed == -1 else seed, seconds_of(time_limit),
            max_tokens, quiet,
        )  # fmt: skip
        if fit == "drop":
            return run_drop(smaller, leave_out or "1/8", options, say, halves=halves)
        return run_quantise(smaller, bits or "4.5", options, say)
    if fit is not None:
        from adec.calibration.fit.fit_part import FitRequest, run_fit

        if small is None or large is not None:
            raise UsageError(
                f"--fit {fit} learns for one model", hint=f"adec calibrate MODEL --fit {fit}"
            )
        return run_fit(
            FitRequest(
                fit,
                small,
                prompts,
                fresh_seed() if seed == -1 else seed,
                seconds_of(time_limit),
                max_tokens,
                keep,
                form,
                quiet,
                machine.engine,
            ),
            options,
            say,
        )
    request = Request(
        small=small,
        large=large,
        prompts=prompts,
        seed=fresh_seed() if seed == -1 else seed,
        output=output,
        svg=picture,
        png=png,
        quiet=quiet,
        metric=metric,
        wishes=Wishes(
            keep, confidence=confidence, seconds=seconds_of(time_limit), max_tokens=max_tokens
        ),
        portable=portable,
        options=options,
        jobs=jobs,
        ray=ray,
        engine=machine.engine,
    )
    return run_calibration(request, options, say, origin=machine.rpc_origin)


def seconds_of(text: str) -> float:
    """Seconds of "90", "90s", "5m" or "1h". Raises UsageError."""
    from adec.errors import UsageError

    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    unit = units.get(text[-1:].lower())
    try:
        value = float(text if unit is None else text[:-1]) * (unit or 1.0)
        if not 1 <= value <= 7 * 86_400:
            raise ValueError
    except ValueError:
        raise UsageError(
            f"--time-limit {text!r} is not a time from 1s to 168h",
            hint="for example: 90s, 5m or 1h",
        ) from None
    return value
