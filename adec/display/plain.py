"""The text and nothing else: no colour, no wrapping, flushed as it is committed.

In a pipe the text goes out as the model wrote it, byte for byte; `--sanitize` changes that. On a
terminal it is always sanitised and ends in exactly one newline.
"""

from __future__ import annotations

from types import TracebackType
from typing import TextIO

from adec.display import Quiet
from adec.display.output import write
from adec.display.sanitise import sanitise
from adec.events.records import Event, Step


class PlainDisplay(Quiet):
    """Writes the texts of the tokens to `stream`. BrokenPipeError goes to the caller."""

    def __init__(self, stream: TextIO, *, terminal: bool, sanitized: bool = False) -> None:
        self._stream = stream
        self._terminal = terminal
        self._sanitized = sanitized or terminal
        # On a terminal newlines at the end wait: only one of them is to be written.
        self._newlines = ""
        self._wrote = False

    def show(self, event: Event) -> None:
        if not isinstance(event, Step) or not event.tokens:
            return
        text = "".join([token.text for token in event.tokens])
        if not text:
            return
        if self._sanitized:
            text = sanitise(text)
        if self._terminal:
            body = text.rstrip("\n")
            newlines = text[len(body) :]
            if not body:
                self._newlines += newlines
                return
            text, self._newlines = self._newlines + body, newlines
        self._wrote = True
        write(self._stream, text)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._terminal and self._wrote and not isinstance(error, OSError):
            self._wrote = False
            write(self._stream, "\n")
