"""A status line on stderr while the text goes elsewhere, erased at the end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TextIO

from adec.display import Quiet
from adec.display.sanitise import one_line
from adec.display.streams import write_beside
from adec.display.wording import SEPARATOR, count
from adec.events.records import Event, Start, Step
from adec.events.tally import Tally

_EVERY_SECONDS = 0.2


class StatusLine(Quiet):
    """Shows the progress of the prompt, then tokens and speed."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.perf_counter) -> None:
        self._stream = stream
        self._clock = clock
        self._start: Start | None = None
        self._tally = Tally("", "")
        self._begun = self._drawn_at = clock()
        self._drawn = False

    def show(self, event: Event) -> None:
        now = self._clock()
        if isinstance(event, Start):
            self._start, self._begun = event, now
            self._tally = Tally(event.strategy, event.guarantee)
        elif isinstance(event, Step):
            self._tally.add(event, now - self._begun)
            if now - self._drawn_at >= _EVERY_SECONDS:
                self._drawn_at, self._drawn = now, True
                write_beside(self._stream, f"\r\x1b[K{self._line()}")
        else:
            self._erase()

    def close(self, error: BaseException | None) -> None:
        self._erase()

    def _erase(self) -> None:
        if self._drawn:
            self._drawn = False
            write_beside(self._stream, "\r\x1b[K")

    def _line(self) -> str:
        tally = self._tally
        if tally.tokens:
            parts = [count(tally.tokens, "token"), f"{tally.tokens_per_second:.1f} tok/s"]
        else:
            read = max(tally.prompt_fed.values(), default=0)
            start = self._start
            whole = f" of {start.prompt_tokens - start.prompt_held}" if start else ""
            parts = [f"reading the prompt: {read}{whole}"]
        line = SEPARATOR.join([one_line(tally.strategy), *parts])
        # every character is one cell wide; a line that wraps could not be erased
        return line[: max(1, self._columns() - 1)]

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except (OSError, ValueError):
            return 80
