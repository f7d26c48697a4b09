"""The one place that turns an error into a line on stderr and an exit code."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import NoReturn, ParamSpec, TypeVar

import typer

from adec.errors import AdecError
from adec.interrupts import INTERRUPTED

LONGEST = 1000
"""Longest error line: an error may quote a whole file."""

# typer has its own copy of click and exports only some of its errors, but not their base class
MISUSE: type[Exception] = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)


class ReaderGone(Exception):
    """The reader of stdout has closed it, which is no error."""


P = ParamSpec("P")
R = TypeVar("R")


def command(function: Callable[P, R]) -> Callable[P, R]:
    """Let a closed pipe reach `exit_code_of`; typer would turn it into exit code 1."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except BrokenPipeError:
            raise ReaderGone from None

    return wrapped


def exit_code_of(run: Callable[[], object]) -> int:
    """Run a command, report what it raises, and return the exit code.

    A pipe that its reader closed is no error. ADEC_DEBUG=1 lets tracebacks through.
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
    except SystemExit as leaving:
        if isinstance(leaving.__context__, BrokenPipeError):  # typer's help found its reader gone
            _discard_stdout()
            return 0
        raise
    except MemoryError:
        report("out of memory. Take a smaller model, or a smaller --ctx")
        return 1
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        report(f"{(error.strerror or str(error)).lower()}{where}")
        return 1
    except Exception as error:  # a bug of adec, which also gets one line
        what = f"unexpected {type(error).__name__}: {error}"
        report(f"{what}. ADEC_DEBUG=1 shows where; please report it")
        return 1


def open_closed_streams() -> None:
    """Give standard streams that were closed (`>&-`) the null device.

    Python has None in their place. The first file opened would also get the number of the stream,
    and what a library prints would go into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is not None:
            continue
        null = os.open(os.devnull, os.O_RDWR)
        os.set_inheritable(null, null == number)
        setattr(sys, name, open(null, "w" if number else "r", encoding="utf-8"))  # noqa: SIM115


def report(message: str) -> None:
    """Write one line to stderr, with control characters made visible."""
    from adec.display.sanitise import sanitise

    line = sanitise(" ".join(message.split()))
    if len(line) > LONGEST:
        line = f"{line[: LONGEST - 1]}…"
    try:
        sys.stderr.write(f"adec: {line}\n")
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        pass  # stderr is closed


def leave(code: int) -> NoReturn:
    """End the process with `code`, and quietly if the reader of stdout has gone."""
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
    """Redirect stdout to the null device, so that the interpreter's last flush cannot fail."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
    except (OSError, ValueError, AttributeError):
        sys.stdout = None
