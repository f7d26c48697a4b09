"""Reads the prompt: from the argument, a file, standard input, or a question on the terminal."""

from __future__ import annotations

import os
import select
import stat
import sys

from adec.cli.failures import report
from adec.display.streams import write_beside
from adec.errors import UsageError
from adec.places import typed_path
from adec.text_file import decode_text, read_text

WAIT_SECONDS = 3.0
"""How long to wait for a silent pipe beside a prompt; ADEC_STDIN_TIMEOUT overrides it."""

PROMPT_BYTES = 64 * 1024 * 1024


def read_prompt(argument: str | None, file: str | None, *, raw: bool = False) -> str:
    """The prompt. Standard input comes before the argument, with a blank line between.

    With `raw` the newlines at its end are part of it; else they are those of a file or a
    here-document, and not of the question.

    Raises UsageError if there is no prompt.
    """
    if file is not None and argument is not None and "-" in (file, argument):
        raise UsageError("standard input was asked for twice", hint="give - once")
    if argument == "-" or file == "-":
        parts = [_piped(), argument if file == "-" else None]
    elif file is not None:
        parts = [read_text(typed_path(file), PROMPT_BYTES, "the prompt file"), argument]
    elif argument is not None:
        parts = [_waiting_input(), argument]
    elif sys.stdin is None or sys.stdin.closed:
        parts = []
    elif sys.stdin.isatty():
        parts = [_ask().rstrip("\r\n")]
    else:
        parts = [_piped()]
    given = [part for part in parts if part and (raw or part.strip())]
    cut = [part.rstrip("\r\n") for part in given]
    text = "\n\n".join([*cut[:-1], *given[-1:]] if raw else cut)
    if not text:
        raise UsageError("there is no prompt", hint='for example: adec run "What is 81 + 95?"')
    return text


def at_terminal() -> bool:
    """Whether a person types and reads here."""
    try:
        return bool(sys.stdin and sys.stdin.isatty() and sys.stdout and sys.stdout.isatty())
    except ValueError:  # closed
        return False


def _piped() -> str:
    return decode_text(sys.stdin.buffer.read(PROMPT_BYTES + 1), PROMPT_BYTES, "standard input")


def _ask() -> str:
    write_beside(sys.stderr, "Ask the models: ")
    return sys.stdin.readline()


def _waiting_input() -> str | None:
    """Standard input beside a prompt argument.

    A file is read, a terminal or the null device is not. A pipe or socket gets some seconds for its
    first byte, because its writer may never write or close it.
    """
    try:
        descriptor = sys.stdin.fileno()
        kind = os.fstat(descriptor).st_mode
    except (AttributeError, OSError, ValueError):
        return None
    if stat.S_ISCHR(kind):
        return None
    if not stat.S_ISREG(kind):
        ready, _, _ = select.select([descriptor], [], [], _patience())
        if not ready:
            report("nothing came through the pipe; going on with the prompt alone")
            return None
    return _piped()


def _patience() -> float:
    word = os.environ.get("ADEC_STDIN_TIMEOUT")
    if word is None:
        return WAIT_SECONDS
    try:
        seconds = float(word)
        if not 0 <= seconds <= 86_400:
            raise ValueError
    except ValueError:
        raise UsageError(f"ADEC_STDIN_TIMEOUT is {word!r}, not a number of seconds") from None
    return seconds
