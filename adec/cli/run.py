"""`adec run`: a prompt in, an answer out, and who wrote which token."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adec.cli import options as shared
from adec.cli.failures import INTERRUPTED, report
from adec.display import ColourWish
from adec.errors import AdecError, TraceError, UsageError
from adec.events.records import End, Failure
from adec.interrupts import Interrupts

if TYPE_CHECKING:
    from adec.answering.session import Question, Session
    from adec.display import Display
    from adec.judging.verifiers import Rating


def run(
    prompt: Annotated[
        str | None,
        typer.Argument(help="The question. - reads standard input.", show_default=False),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            "--file", "-f", metavar="FILE", help="Read the prompt from a file; PROMPT follows it."
        ),
    ] = None,
    system: Annotated[
        str | None,
        typer.Option("--system", metavar="TEXT", help="System message, for models that take one."),
    ] = None,
    raw: Annotated[
        bool,
        typer.Option("--raw", help="Feed the prompt as it is, without the model's chat template."),
    ] = False,
    pair: shared.Pair = None,
    small: shared.Small = None,
    large: shared.Large = None,
    model: shared.Model = None,
    strategy: shared.Strategy = None,
    assignments: shared.Assignments = None,
    verify: shared.Verify = None,
    tests: shared.Tests = None,
    allow_exec: shared.AllowExec = False,
    keep: shared.Keep = None,
    max_tokens: shared.MaxTokens = 256,
    temperature: shared.Temperature = 0.0,
    top_k: shared.TopK = 0,
    top_p: shared.TopP = 1.0,
    min_p: shared.MinP = 0.0,
    seed: shared.Seed = None,
    stop: shared.Stop = None,
    json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print one JSON object with text and summary.",
            rich_help_panel=shared.OUTPUT,
        ),
    ] = False,
    jsonl: Annotated[
        bool,
        typer.Option("--jsonl", help="Print one JSON event a line.", rich_help_panel=shared.OUTPUT),
    ] = False,
    plain: Annotated[
        bool,
        typer.Option(
            "--plain",
            help="Print the text alone, also on a terminal.",
            rich_help_panel=shared.OUTPUT,
        ),
    ] = False,
    trace: Annotated[
        Path | None,
        typer.Option(
            "--trace",
            metavar="FILE",
            help="Write every event to FILE as well.",
            rich_help_panel=shared.OUTPUT,
        ),
    ] = None,
    color: Annotated[
        ColourWish,
        typer.Option("--color", help="Colour the live display.", rich_help_panel=shared.OUTPUT),
    ] = "auto",
    sanitize: Annotated[
        bool,
        typer.Option(
            "--sanitize",
            help="Replace control characters in piped text too.",
            rich_help_panel=shared.OUTPUT,
        ),
    ] = False,
    quiet: shared.Quiet = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose", "-v", help="Show the backend's log.", rich_help_panel=shared.OUTPUT
        ),
    ] = False,
    context: shared.Context = None,
    threads: shared.Threads = None,
    batch_threads: shared.BatchThreads = None,
    gpu_layers: shared.GpuLayers = 0,
    memory_map: shared.MemoryMap = True,
    device: shared.Device = None,
    dtype: shared.Dtype = None,
) -> int:
    """Answer a prompt, and show which model wrote each token.

    \b
    Examples:
      adec run "A shop has 81 pens and gets 95 more. How many pens are there?"
      adec run --small small.gguf --large large.gguf -f question.txt > answer.txt
      adec run --model ./my-model --temp 0.8 --seed 7 --jsonl "Write a haiku"
      adec run --strategy iad --verify "wc -c" "Reverse this list: plum fig pear."
    """
    # numpy and all that needs it wait until a question is asked: help answers at once
    from adec.answering.choice import Choice
    from adec.answering.plan import plan
    from adec.answering.session import Question, open_session
    from adec.cli.prompt_input import read_prompt
    from adec.display.choose import Wishes, choose_display
    from adec.engines.base import OpenOptions
    from adec.sampling import Sampler, fresh_seed

    chosen_seed = seed if seed is not None else 0 if temperature == 0 else fresh_seed()
    sampler = Sampler(temperature, top_k, top_p, min_p, chosen_seed)
    choice = Choice(pair, small, large, model, strategy, tuple(assignments or ()), keep)
    machine = OpenOptions(
        context=context,
        threads=threads,
        batch_threads=batch_threads,
        gpu_layers=gpu_layers,
        mmap=memory_map,
        device=device,
        dtype=dtype,
    )
    wishes = Wishes(plain, json, jsonl, sanitize, quiet, color, trace)
    display = choose_display(wishes)
    if verbose:
        from adec.engines.llama.library import echo_logs

        echo_logs(True)
    with display:
        try:
            question = Question(
                read_prompt(prompt, file),
                system=system,
                raw=raw,
                max_tokens=max_tokens,
                sampler=sampler,
                stop=tuple(stop or ()),
                signals=not (plain or json) or trace is not None,
                verify=_verifier(verify, tests, allow_exec),
            )
            ready = plan(choice)
            if question.verify is not None and ready.method.name != "iad":
                raise UsageError(
                    f"{'--verify' if verify else '--tests'} has no effect: the strategy is {ready.method.name}",
                    hint="add --strategy iad",
                )
            if not quiet:
                for remark in ready.remarks:
                    report(remark)
                if ready.hint is not None and sys.stderr.isatty():
                    report(ready.hint)
            with open_session(ready, machine) as session:
                return _show_answer(session, question, display)
        except (AdecError, KeyboardInterrupt) as error:
            _show_failure(display, error)
            raise


def _verifier(
    command: str | None, tests: Path | None, allow_exec: bool
) -> Callable[[str], Rating] | None:
    if command is not None and tests is not None:
        raise UsageError("--verify and --tests exclude each other")
    if tests is not None and not allow_exec:
        raise UsageError("--tests runs code that a model wrote", hint="add --allow-exec if it may")
    if command is None and tests is None:
        return None
    from adec.judging.verifiers import CodeVerifier, CommandVerifier

    return CodeVerifier.read(tests) if tests is not None else CommandVerifier.parse(command or "")


def _show_answer(session: Session, question: Question, display: Display) -> int:
    """Show every event; the exit code. A trace that cannot be written does not take the answer away."""
    trouble: TraceError | None = None
    finish = None
    with Interrupts() as interrupts:
        for event in session.answer(question, interrupted=lambda: interrupts.asked):
            try:
                display.show(event)
            except TraceError as error:
                trouble = trouble or error
            if isinstance(event, End):
                finish = event.summary["finish"]
    if trouble is not None:
        report(str(trouble))
        return trouble.exit_code
    return INTERRUPTED if finish == "interrupted" else 0


def _show_failure(display: Display, error: AdecError | KeyboardInterrupt) -> None:
    """Close traces and JSON outputs with the failure; whatever goes wrong here, the error itself counts."""
    if isinstance(error, AdecError):
        failure = Failure(str(error), error.exit_code)
    else:
        failure = Failure("interrupted", INTERRUPTED)
    with suppress(AdecError, OSError):
        display.show(failure)
