"""`adec run`: answers a prompt and shows which model wrote each token."""

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
from adec.interrupts import Interrupts

if TYPE_CHECKING:
    from adec.answering.session import Question, Session
    from adec.display import Display
    from adec.judging.verifiers import Rating


@shared.grouped
def run(
    prompt: Annotated[
        str | None,
        typer.Argument(help="The question. - reads standard input.", show_default=False),
    ] = None,
    given: Annotated[
        str | None, typer.Option("--prompt", "-p", metavar="TEXT", help="The question, as a flag.")
    ] = None,
    file: Annotated[
        str | None,
        typer.Option("--file", "-f", metavar="FILE", help="Put this file before the prompt."),
    ] = None,
    system: Annotated[
        str | None,
        typer.Option("--system", metavar="TEXT", help="System message, e.g. Answer in French."),
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Feed the prompt as it is, without a chat template.")
    ] = False,
    special: Annotated[
        bool,
        typer.Option("--special", help="With --raw: read <|im_start|> and the like as tokens."),
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
    sampling: shared.SamplingOptions = shared.GREEDY,
    json: Annotated[
        bool, shared.output("--json", help="Print one JSON object with text and summary.")
    ] = False,
    jsonl: Annotated[
        bool, shared.output("--jsonl", help="Print events as JSON, one a line.")
    ] = False,
    plain: Annotated[
        bool, shared.output("--plain", help="Print the text alone, even on a terminal.")
    ] = False,
    trace: Annotated[
        Path | None,
        shared.output("--trace", metavar="FILE", help="Also write all events to this file."),
    ] = None,
    color: Annotated[ColourWish, shared.output("--color", help="Colour the display.")] = "auto",
    sanitize: Annotated[
        bool, shared.output("--sanitize", help="Replace control characters in a pipe, too.")
    ] = False,
    quiet: shared.Quiet = False,
    verbose: Annotated[
        bool, shared.output("--verbose", "-v", help="Show the backend's log.")
    ] = False,
    machine: shared.MachineOptions = shared.ANY_MACHINE,
) -> int:
    """Answer a prompt, and show which model wrote each token.

    \b
    Examples:
      adec run "A shop has 81 pens and gets 95 more. How many pens are there?"
      adec run --small small.gguf --large large.gguf -f question.txt > answer.txt
      adec run --model ./my-model --temp 0.8 --seed 7 --jsonl "Write a haiku"
      adec run --strategy iad --verify "wc -c" "Reverse this list: plum fig pear."
    """
    # numpy and what needs it are imported only now, so that --help is quick
    from adec.answering.choice import Choice
    from adec.answering.plan import plan
    from adec.answering.session import Question, open_session
    from adec.cli.prompt_input import read_prompt
    from adec.display.display_choice import DisplayFlags, choose_display

    sampler = sampling.sampler()
    choice = Choice(pair, small, large, model, strategy, tuple(assignments or ()), keep)
    flags = DisplayFlags(plain, json, jsonl, sanitize, quiet, color, trace)
    display = choose_display(flags)
    if verbose:
        from adec.engines.llama.llama_library import echo_logs

        echo_logs(True)
    with display:
        try:
            question = Question(
                read_prompt(_typed(prompt, given, sampling), file, raw=raw),
                system=None if system is None else sampling.typed(system),
                raw=raw,
                special=special,
                max_tokens=sampling.max_tokens,
                sampler=sampler,
                stop=sampling.stops,
                signals=not (plain or json) or trace is not None,
                verify=_verifier(verify, tests, allow_exec),
            )
            ready = plan(choice)
            if question.verify is not None and not ready.method.whole_answers:
                raise _idle_verifier("--verify" if verify else "--tests", ready.method.name)
            if not quiet:
                for remark in ready.remarks:
                    report(remark)
                if ready.hint is not None and sys.stderr.isatty():
                    report(ready.hint)
            with open_session(ready, machine.open_options()) as session:
                return _show_answer(session, question, display, quiet)
        except (AdecError, KeyboardInterrupt) as error:
            _show_failure(display, error)
            raise


def _typed(prompt: str | None, given: str | None, sampling: shared.SamplingOptions) -> str | None:
    """The prompt of the command line; "-" is standard input."""
    if prompt is not None and given is not None:
        raise UsageError("there are two prompts", hint="give --prompt or the argument")
    text = given if prompt is None else prompt
    return None if text is None else sampling.typed(text)


def _idle_verifier(flag: str, strategy: str) -> UsageError:
    from adec.decoding.registry import METHODS

    able = " or ".join(method.name for method in METHODS.values() if method.whole_answers)
    return UsageError(
        f"{flag} has no effect: the strategy is {strategy}", hint=f"add --strategy {able}"
    )


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


def _show_answer(session: Session, question: Question, display: Display, quiet: bool) -> int:
    """Show every event; return the exit code. A trace that fails does not end the answer."""
    from adec.events.records import End

    trouble: TraceError | None = None
    finish = None
    with Interrupts() as interrupts:
        for event in session.answer(
            question,
            interrupted=lambda: interrupts.asked,
            remark=lambda words: None if quiet else report(words),
        ):
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
    """End traces and JSON with the failure. Errors in doing so must not hide it."""
    from adec.events.records import Failure

    if isinstance(error, AdecError):
        failure = Failure(str(error), error.exit_code)
    else:
        failure = Failure("interrupted", INTERRUPTED)
    with suppress(AdecError, OSError):
        display.show(failure)
