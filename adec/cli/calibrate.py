"""`adec calibrate`: measure machine and models, fit thresholds, prove a budget, save a profile."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from adec.cli import options as shared
from adec.cli.failures import report
from adec.cli.fit_options import SMALLER, THRESHOLDS, FitOptions, asked
from adec.cli.option_groups import grouped


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
        asked(
            "--prompts",
            metavar="FILE",
            help="One prompt a line, or JSON lines with prompt and answer. Default: built-in "
            "problems.",
        ),
    ] = None,
    keep: Annotated[
        float,
        asked("--keep", help="Quality to be kept; 1 is exact."),
    ] = 0.97,
    metric: Annotated[
        Literal["agreement", "answer", "perplexity"] | None,
        asked(
            "--metric",
            help="Quality: tokens equal to the large model's, right answers, or its perplexity. "
            "Default: answer where they are known, else agreement.",
            show_default=False,
        ),
    ] = None,
    confidence: Annotated[
        float,
        asked("--confidence", help="Confidence level of the proof."),
    ] = 0.95,
    time_limit: Annotated[
        str,
        asked(
            "--time-limit",
            metavar="TIME",
            help="About how long it may take, such as 90s, 5m or 1h.",
        ),
    ] = "5m",
    seed: Annotated[
        int,
        asked(
            "--seed",
            "-s",
            help="Seed of the built-in prompts and of the split into two halves.",
        ),
    ] = 0,
    max_tokens: shared.MaxTokens = 256,
    fitting: FitOptions = THRESHOLDS,
    jobs: Annotated[
        int,
        asked(
            "--jobs",
            min=1,
            max=256,
            help="Processes that answer ahead where nothing is timed (answers to fit on, most of "
            "the proof); with --ray, on each machine.",
        ),
    ] = 1,
    ray: Annotated[
        str | None,
        asked(
            "--ray",
            metavar="ADDRESS",
            help="Let a Ray cluster do that, HOST:PORT; local starts one here. All that is timed "
            "runs on this machine.",
        ),
    ] = None,
    output: Annotated[
        str | None,
        shared.output(
            "-o",
            "--output",
            metavar="NAME",
            help="Name of the profile, or a path that ends in .toml; with --fit drop or quantise "
            "one that ends in .gguf.",
        ),
    ] = None,
    check: Annotated[
        str | None,
        shared.output(
            "--check",
            metavar="NAME",
            help="Measure a profile's forward times again and compare.",
        ),
    ] = None,
    picture: Annotated[
        Path | None,
        shared.output(
            "--svg",
            metavar="FILE",
            help="Write the front as a picture too.",
        ),
    ] = None,
    png: Annotated[
        Path | None,
        shared.output(
            "--png",
            metavar="FILE",
            help="The same as PNG; needs pip install resvg-py.",
        ),
    ] = None,
    portable: Annotated[
        bool,
        shared.output(
            "--portable",
            help="Leave out what holds on this machine only, to give the profile away with the "
            "models.",
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
    from adec.sampling import fresh_seed

    options = machine.open_options()
    say = (lambda line: None) if quiet else report
    if check is not None:
        return run_check(check, options, quiet=quiet, origin=machine.rpc_origin)
    fitting.check()
    fitting.check_others(
        {
            "--metric": metric is not None,
            "--jobs": jobs != 1,
            "--ray": ray is not None,
            "--output": output is not None,
            "--svg": picture is not None,
            "--png": png is not None,
            "--portable": portable,
        }
    )
    seed = fresh_seed() if seed == -1 else seed
    seconds = seconds_of(time_limit)
    if fitting.fit in SMALLER:
        from adec.calibration.compress.smaller_model import SmallerModel

        model = fitting.only_model(small, large)
        smaller = SmallerModel(model, output, prompts, seed, seconds, max_tokens, quiet)
        return fitting.make_smaller(smaller, options, say)
    if fitting.fit is not None:
        from adec.calibration.fit.fit_part import FitRequest, run_fit

        model = fitting.only_model(small, large)
        wanted = FitRequest(
            fitting.fit,
            model,
            prompts,
            seed,
            seconds,
            max_tokens,
            keep,
            fitting.form or "linear",
            quiet,
            machine.engine,
        )
        return run_fit(wanted, options, say)
    request = Request(
        small=small,
        large=large,
        prompts=prompts,
        seed=seed,
        output=output,
        svg=picture,
        png=png,
        quiet=quiet,
        metric=metric,
        wishes=Wishes(keep, confidence=confidence, seconds=seconds, max_tokens=max_tokens),
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
