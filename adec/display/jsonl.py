"""For programs: `--jsonl` prints every event as it happens, `--json` one object at the end."""

from __future__ import annotations

from typing import Any, TextIO

from adec.display import Quiet
from adec.display.output import write
from adec.events.codec import dumps, encode_line, to_json
from adec.events.records import End, Event, Failure, Start, Step


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
