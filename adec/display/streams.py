"""Displays that write to a stream as events come: the text alone, JSON lines, one JSON object."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, TextIO

from adec.display import Quiet
from adec.display.sanitise import sanitise
from adec.events.codec import encode_line, to_json
from adec.events.hostile_json import dumps
from adec.events.records import End, Event, Failure, Start, Step


def write(stream: TextIO, text: str) -> None:
    """Write and flush. Characters that the stream's encoding lacks become "?"."""
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = stream.encoding or "ascii"
        stream.write(text.encode(encoding, errors="replace").decode(encoding))
    stream.flush()


def write_beside(stream: TextIO, text: str) -> None:
    """As `write`, for what stands beside an answer: the answer is whole without it."""
    with suppress(OSError, ValueError):  # a full disk, a reader that has gone, a closed stream
        write(stream, text)


def knows_unicode(stream: TextIO) -> bool:
    """Whether the stream's encoding has box and block characters."""
    return (getattr(stream, "encoding", None) or "").lower().replace("-", "") in ("utf8", "utf16")


class PlainDisplay(Quiet):
    """Writes the text of the tokens and nothing else, flushed as it is committed.

    In a pipe the text goes out as the model wrote it, unless `sanitized`; a newline is added at the
    end if the text has none. On a terminal it is always sanitised and ends in exactly one newline.
    """

    def __init__(self, stream: TextIO, *, terminal: bool, sanitized: bool = False) -> None:
        self._stream = stream
        self._terminal = terminal
        self._sanitized = sanitized or terminal
        # on a terminal, newlines at the end are held back: only one of them is written
        self._newlines = ""
        self._open_line = False

    def show(self, event: Event) -> None:
        if not isinstance(event, Step):
            # before any closing line on stderr, which must not stick to the last word
            self._end_line()
            return
        text = "".join([token.text for token in event.tokens])
        if self._sanitized:
            text = sanitise(text)
        if self._terminal:
            body = text.rstrip("\n")
            text, held = self._newlines + body if body else "", text[len(body) :]
            self._newlines = held if body else self._newlines + held
        if text:
            self._open_line = not text.endswith("\n")
            write(self._stream, text)

    def close(self, error: BaseException | None) -> None:
        if not isinstance(error, OSError):
            self._end_line()

    def _end_line(self) -> None:
        if self._open_line:
            self._open_line = False
            write(self._stream, "\n")


class JsonLinesDisplay(Quiet):
    """Writes one event a line, flushed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def show(self, event: Event) -> None:
        write(self._stream, encode_line(event) + "\n")


class JsonDisplay(Quiet):
    """Writes one object when the run ends: "text", "summary", and the fields of the start.

    A run that fails gets its text so far, and "error" with message and exit code.
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
