"""Events as JSON lines, and back. What is read may come from anybody: every line is bounded and
checked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from msgspec import Struct
from msgspec.structs import astuple

from adec.errors import TraceError
from adec.events.hostile_json import JsonReader, dumps, encode, to_plain
from adec.events.records import (
    SCHEMA,
    Attempt,
    CanvasRecord,
    DepthRecord,
    End,
    Event,
    Failure,
    Pause,
    Start,
    Step,
    StepFields,
    TreeRecord,
)

MAX_LINE = 16 * 1024 * 1024
"""Bytes of a line. The longest honest one is a start with a prompt that fills a large context."""


class _StepLine(StepFields, frozen=True):
    """A step as its line has it: a key for each kind of detail."""

    tree: TreeRecord | None = None
    pause: Pause | None = None
    attempt: Attempt | None = None
    canvas: CanvasRecord | None = None
    depth: DepthRecord | None = None


class _Schema(Struct):
    """What must be known of a first line before the rest of it can be understood."""

    type: Any = None
    schema: Any = None


_EVENTS = JsonReader[Start | _StepLine | End | Failure](Start | _StepLine | End | Failure)
_SCHEMA = JsonReader[_Schema](_Schema)


def to_json(event: Event) -> dict[str, Any]:
    """The event as plain data, "type" first."""
    data: dict[str, Any] = to_plain(_to_line(event) if isinstance(event, Step) else event)
    if isinstance(event, Start):
        data = {"type": data.pop("type"), "schema": event.schema, **data}
    return data


def encode_line(event: Event) -> str:
    """The event as one line of ASCII, without the newline."""
    if not isinstance(event, Step):
        return dumps(to_json(event))
    detail = event.detail
    if detail is None:
        return encode(event)
    nulls = 0
    if isinstance(detail, TreeRecord):
        nulls = detail.probabilities.count(None)
    elif isinstance(detail, Attempt):
        nulls = detail.score is None
    return encode(_to_line(event), nulls)


def read_trace(path: Path) -> Iterator[Event]:
    """The events of a trace, a line at a time.

    Raises TraceError that names the line; what was yielded before stands.
    """
    try:
        with open(path, "rb") as file:
            yield from read_lines(file)
    except OSError as error:
        raise TraceError(f"cannot read the trace {path}: {error.strerror}") from None


def read_lines(file: BinaryIO) -> Iterator[Event]:
    """The events of an open file: a start, steps, at most one end or error; or an error alone.

    Raises TraceError as `read_trace` does.
    """
    number, closed = 0, False
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise TraceError(f"line {number}: longer than {MAX_LINE} bytes")
        try:
            if number == 1:
                _check_schema(line)
            event = _read(line)
        except ValueError as error:
            message = str(error) if line.endswith(b"\n") else "the trace is cut off here"
            raise TraceError(f"line {number}: {message}") from None
        if closed:
            raise TraceError(f"line {number}: more after the end of the run")
        if number == 1 and isinstance(event, Step | End):
            raise TraceError("line 1: the start is missing")
        if number > 1 and isinstance(event, Start):
            raise TraceError(f"line {number}: a second start")
        closed = isinstance(event, End | Failure)
        yield event
    if number == 0:
        raise TraceError("the trace is empty")


def _check_schema(line: bytes) -> None:
    found = _SCHEMA.read(line)
    if found.type == "start" and found.schema != SCHEMA:
        raise TraceError(
            f"line 1: the trace has schema {str(found.schema)[:20]!r}, "
            f"this adec reads schema {SCHEMA}",
            hint="Use the version of adec that wrote it",
        )


def _read(line: bytes) -> Event:
    """Raises ValueError."""
    event = _EVENTS.read(line)
    if not isinstance(event, _StepLine):
        return event
    *shared, tree, pause, attempt, canvas, depth = astuple(event)
    if tree is pause is attempt is canvas is depth:  # None: most steps
        return Step(*shared)
    found = [detail for detail in (tree, pause, attempt, canvas, depth) if detail is not None]
    if len(found) > 1:
        raise ValueError("a step has only one of `tree`, `pause`, `attempt`, `canvas`, `depth`")
    if depth is not None and not 1 <= depth.depth <= depth.of:
        raise ValueError(f"{depth.depth}, of {depth.of} layers - at `$.depth.depth`")
    if pause is not None and pause.winner >= len(pause.candidates):
        many = len(pause.candidates)
        raise ValueError(f"{pause.winner}, of {many} candidates - at `$.pause.winner`")
    return Step(*shared, *found)


def _to_line(step: Step) -> _StepLine:
    *shared, detail = astuple(step)
    kinds = (TreeRecord, Pause, Attempt, CanvasRecord, DepthRecord)
    return _StepLine(*shared, *(detail if isinstance(detail, kind) else None for kind in kinds))
