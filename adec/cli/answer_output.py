"""Shows the events of an answer, and a failure where there is one."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from adec.cli.failures import report
from adec.errors import AdecError, TraceError
from adec.interrupts import INTERRUPTED, Interrupts

if TYPE_CHECKING:
    from adec.answering.session import Question, Session
    from adec.display import Display


def show_answer(session: Session, question: Question, display: Display, quiet: bool) -> int:
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


def show_failure(display: Display, error: AdecError | KeyboardInterrupt) -> None:
    """End traces and JSON with the failure. Errors in doing so must not hide it."""
    from adec.events.records import Failure

    if isinstance(error, AdecError):
        failure = Failure(str(error), error.exit_code)
    else:
        failure = Failure("interrupted", INTERRUPTED)
    with suppress(AdecError, OSError):
        display.show(failure)
