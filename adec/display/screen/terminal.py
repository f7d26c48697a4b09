"""The terminal itself: its size, its echo, Ctrl-Z."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

try:
    import termios
except ImportError:  # pragma: no cover - not a Unix
    termios = None  # type: ignore[assignment]


def size_of(stream: TextIO) -> tuple[int, int]:
    """Columns and rows; 80 by 24 if the terminal does not say."""
    try:
        size = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return 80, 24
    return size.columns or 80, size.lines or 24


class Echo:
    """Switches the terminal's echo off, so that typing does not spoil the display."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._before: list[Any] | None = None

    def off(self) -> None:
        """Stop the echo, except in the background, where trying would stop the process."""
        if termios is None:
            return
        try:
            descriptor = self._stream.fileno()
            if os.tcgetpgrp(descriptor) != os.getpgrp():
                return
            before = termios.tcgetattr(descriptor)
            quiet = list(before)
            quiet[3] &= ~termios.ECHO
            termios.tcsetattr(descriptor, termios.TCSANOW, quiet)
            self._before = before
        except (termios.error, ValueError, OSError):
            return

    def restore(self) -> None:
        """Undo `off`."""
        before, self._before = self._before, None
        if before is not None:
            with suppress(termios.error, ValueError, OSError):
                termios.tcsetattr(self._stream.fileno(), termios.TCSANOW, before)


@contextmanager
def on_suspend(ask: Callable[[], None]) -> Iterator[None]:
    """Call `ask` on Ctrl-Z instead of stopping, if this thread may handle signals."""
    stop = getattr(signal, "SIGTSTP", None)
    if (
        stop is None
        or threading.current_thread() is not threading.main_thread()
        or signal.getsignal(stop) is not signal.SIG_DFL
    ):
        yield
        return
    signal.signal(stop, lambda *_: ask())
    try:
        yield
    finally:
        signal.signal(stop, signal.SIG_DFL)
