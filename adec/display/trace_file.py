"""Trace files: `adec run --trace` writes events to one, `adec inspect --replay` plays one back."""

from __future__ import annotations

import math
import os
import stat
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

from adec.display import Display, Quiet
from adec.errors import TraceError
from adec.events.codec import encode_line
from adec.events.records import Event, Failure, Step

LONGEST_SECONDS = 60.0
"""The longest that a replay waits for one step, whatever the trace says."""
_TRACE_BEGINS = b'{"type": "'


class TraceWriter(Quiet):
    """Appends one event a line, unbuffered, so that a crash loses nothing that was written.

    An older trace is replaced once the new run has begun; a run that fails before its start leaves
    it alone. A file that is no trace is refused. If a write fails (a full disk), TraceError is
    raised once, the file keeps its lines, and later events are ignored: the caller may go on.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None
        self._fresh = True
        self._replaces = False

    def __enter__(self) -> Self:
        try:
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
            # a FIFO or a device has nothing to replace and may refuse to be read
            if self.path.exists() and not self.path.is_file():
                flags = os.O_WRONLY
            self._descriptor = os.open(self.path, flags, 0o666)
            if flags != os.O_WRONLY:
                found = os.read(self._descriptor, len(_TRACE_BEGINS))
                if found and found != _TRACE_BEGINS:
                    self._close()
                    raise TraceError(
                        f"{self.path} exists and is not a trace",
                        hint="Name another file, or remove this one",
                    )
                self._replaces = bool(found)
        except OSError as error:
            self._close()
            raise self._failure(error) from None
        return self

    def show(self, event: Event) -> None:
        if self._descriptor is None:
            return
        if self._fresh and self._replaces and isinstance(event, Failure):
            return
        line = encode_line(event).encode() + b"\n"
        try:
            if self._fresh:
                self._fresh = False
                if stat.S_ISREG(os.fstat(self._descriptor).st_mode):
                    os.lseek(self._descriptor, 0, os.SEEK_SET)
                    os.ftruncate(self._descriptor, 0)
            while line:
                line = line[os.write(self._descriptor, line) :]
        except OSError as error:
            self._close()
            raise self._failure(error) from None

    def close(self, error: BaseException | None) -> None:
        try:
            self._close()
        except OSError as failure:
            # some file systems report a full disk only now
            if error is None:
                raise self._failure(failure) from None

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _failure(self, error: OSError) -> TraceError:
        return TraceError(f"cannot write the trace {self.path}: {error.strerror}")


def replay(
    events: Iterable[Event],
    display: Display,
    speed: float = 1.0,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Show every event, `speed` times as fast as it happened."""
    with display:
        for event in events:
            if isinstance(event, Step):
                wait = seconds(event) / speed
                if wait > 0:
                    sleep(wait)
            display.show(event)


def seconds(step: Step) -> float:
    """Seconds that a step took, within bounds: its forwards and the strategy's own time."""
    took = (step.ms() + step.own_ms) / 1000
    return min(max(0.0, took), LONGEST_SECONDS) if not math.isnan(took) else 0.0
