"""The one place where an error becomes a line on stderr and an exit code."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import NoReturn, ParamSpec, TypeVar

import typer

from adec.errors import AdecError

INTERRUPTED = 130
LONGEST = 1000
"""Characters of an error: what it quotes may be a whole file."""

# typer carries its own copy of click and exports only some of its errors; the base of them all has exit_code and
# format_message
_Misuse: type[Exception] = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)


class ReaderGone(Exception):
    """Whoever read our stdout has closed it. No error: they have seen enough."""


P = ParamSpec("P")
R = TypeVar("R")


def command(function: Callable[P, R]) -> Callable[P, R]:
    """Wrap a command so that a closed pipe reaches `exit_code_of`: typer would make it an exit with 1."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except BrokenPipeError:
            raise ReaderGone from None

    return wrapped


def exit_code_of(run: Callable[[], object]) -> int:
    """Run a command; report what it raises; return the exit code.

    A reader that closed the pipe early is no error. ADEC_DEBUG=1 lets tracebacks through.
    """
    if os.environ.get("ADEC_DEBUG") == "1":
        code = run()
        return code if isinstance(code, int) else 0
    try:
        code = run()
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except AdecError as error:
        report(str(error))
        return error.exit_code
    except (ReaderGone, BrokenPipeError):
        _discard_stdout()
        return 0
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except typer.Exit as leaving:
        return leaving.exit_code
    except _Misuse as error:
        told = getattr(error, "format_message", None)
        message = str(told() if told is not None else error)
        report(f"{message.rstrip('.')}. See adec --help")
        return 2
    except MemoryError:
        report("out of memory. Take a smaller model, or a smaller --ctx")
        return 1
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        report(f"{(error.strerror or str(error)).lower()}{where}")
        return 1
    except (
        Exception
    ) as error:  # a bug of ours is still one line; the whole story is one variable away
        report(
            f"unexpected {type(error).__name__}: {error}. ADEC_DEBUG=1 shows where; please report it"
        )
        return 1


def report(message: str) -> None:
    """One line on stderr; whatever the message quotes, no control character reaches the terminal."""
    from adec.display.sanitise import sanitise

    line = sanitise(" ".join(message.split()))
    if len(line) > LONGEST:
        line = f"{line[: LONGEST - 1]}…"
    try:
        sys.stderr.write(f"adec: {line}\n")
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        pass  # nobody is left to tell


def leave(code: int) -> NoReturn:
    """End the process with `code`, quietly when stdout's reader has gone."""
    try:
        sys.stdout.flush()
    except (BrokenPipeError, ValueError, AttributeError):
        _discard_stdout()
    except OSError as error:
        report(f"the output cannot be written: {error.strerror}")
        _discard_stdout()
        code = code or 1
    sys.exit(code)


def _discard_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's last flush cannot fail."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
    except (OSError, ValueError, AttributeError):
        sys.stdout = None
