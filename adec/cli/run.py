"""`adec run`: answers a prompt and shows which model wrote each token."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adec.cli import options as shared
from adec.cli.answer_output import show_answer, show_failure
from adec.cli.failures import report
from adec.cli.option_groups import grouped
from adec.display import ColourWish
from adec.errors import AdecError, UsageError

if TYPE_CHECKING:
    from adec.answering.plan import Plan
    from adec.judging.verifiers import Rating


@grouped
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
    exactness: shared.Exactness = "rounding",
    stop_when_lost: shared.StopWhenLost = False,
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
    remember: Annotated[
        bool,
        shared.output(
            "--remember", help="Keep the answer's token ids on this disk, to draft from later."
        ),
    ] = False,
    quiet: shared.Quiet = False,
    verbose: Annotated[
        bool, shared.output("--verbose", "-v", help="Show the backend's log.")
    ] = False,
    machine: shared.MachineOptions = shared.ANY_MACHINE,
) -> int:
    """Answer a prompt, and show which model wrote each token.

    On a terminal without a prompt it is a conversation: /help lists its commands, Ctrl-D ends it.

    \b
    Examples:
      adec run "A shop has 81 pens and gets 95 more. How many pens are there?"
      adec run --small small.gguf --large large.gguf -f question.txt > answer.txt
      adec run --model ./my-model --temp 0.8 --seed 7 --jsonl "Write a haiku"
      adec run --strategy iad --verify "wc -c" "Reverse this list: plum fig pear."
    """
    # numpy and what needs it are imported only now, so that --help is quick
    from adec.answering.choice import Choice
    from adec.answering.placement import place
    from adec.answering.plan import plan
    from adec.answering.session import Question, open_session
    from adec.cli.prompt_input import at_terminal, read_prompt
    from adec.display.display_choice import DisplayFlags, choose_display

    sampler = sampling.sampler()
    given_assignments = tuple(assignments or ())
    choice = Choice(
        pair, small, large, model, strategy, given_assignments, keep, exactness, machine.engine,
        stop_when_lost,
    )  # fmt: skip
    flags = DisplayFlags(plain, json, jsonl, sanitize, quiet, color, trace)
    display = choose_display(flags)
    if verbose:
        from adec.engines.llama.llama_library import echo_logs

        echo_logs(True)
    one = json or jsonl or trace is not None or not (prompt is given is file is None)
    talks = not one and at_terminal()
    with nullcontext() if talks else display:
        try:
            typed = _typed(prompt, given, sampling)
            question = Question(
                "" if talks else read_prompt(typed, file, raw=raw),
                system=None if system is None else sampling.typed(system),
                raw=raw,
                special=special,
                max_tokens=sampling.max_tokens,
                sampler=sampler,
                stop=sampling.stops,
                signals=not (plain or json) or trace is not None,
                verify=_verifier(verify, tests, allow_exec),
            )
            placed = place(plan(choice), machine.open_options(), machine.rpc_origin)
            ready = placed.plan
            if question.verify is not None and not ready.method.whole_answers:
                raise _idle_verifier("--verify" if verify else "--tests", ready.method.name)
            if not quiet:
                _say_remarks(ready, placed.remarks)
            with open_session(ready, placed.options, remember=remember) as session:
                if talks:
                    from adec.answering.conversation import Conversation
                    from adec.cli.talk import Talk

                    return Talk(
                        session,
                        Conversation(question),
                        lambda: choose_display(flags),
                        assignments=given_assignments,
                        quiet=quiet,
                    ).run()
                return show_answer(session, question, display, quiet)
        except (AdecError, KeyboardInterrupt) as error:
            if not talks:
                show_failure(display, error)
            raise


def _say_remarks(ready: Plan, more: tuple[str, ...]) -> None:
    for remark in (*ready.remarks, *more):
        report(remark)
    if ready.hint is not None and sys.stderr.isatty():
        report(ready.hint)


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
