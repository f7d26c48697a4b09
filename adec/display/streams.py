"""The text and nothing else: no colour, no wrapping, flushed as it is committed.

In a pipe the text goes out as the model wrote it, byte for byte; `--sanitize` changes that. On a
terminal it is always sanitised and ends in exactly one newline.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, TextIO

from adec.display import Quiet
from adec.display.sanitise import sanitise
from adec.events.codec import dumps, encode_line, to_json
from adec.events.records import End, Event, Failure, Start, Step


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


def write(stream: TextIO, text: str) -> None:
    """Write and flush. What the stream's encoding lacks becomes "?" instead of an error."""
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = stream.encoding or "ascii"
        stream.write(text.encode(encoding, errors="replace").decode(encoding))
    stream.flush()


def knows_unicode(stream: TextIO) -> bool:
    """Whether box characters and block characters can be written."""
    return (getattr(stream, "encoding", None) or "").lower().replace("-", "") in ("utf8", "utf16")


class JsonLinesDisplay(Quiet):
    """One event a line, flushed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def show(self, event: Event) -> None:
        write(self._stream, encode_line(event) + "\n")


class JsonDisplay(Quiet):
    """One object when the run ends: "text", "summary", and the fields of the start.

    A run that fails prints "text" so far and "error" with its message and exit code instead.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._start: dict[str, Any] = {}
        self._texts: list[str] = []

    def show(self, event: Event) -> None:
        if isinstance(event, Step):
            self._texts += [token.text for token in event.tokens]
        elif isinstance(event, Start):
            self._start = to_json(event)
            del self._start["type"]
        else:
            self._print(event)

    def _print(self, event: End | Failure) -> None:
        closing = to_json(event)
        del closing["type"]
        if isinstance(event, Failure):
            closing = {"error": closing}
        result = {"text": "".join(self._texts), **closing, **self._start}
        write(self._stream, dumps(result) + "\n")
