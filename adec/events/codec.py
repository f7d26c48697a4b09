"""Events as JSON lines, and back. What is read may come from anybody: every line is bounded and
checked.

Fields at their default are left out of a line and restored by the reader. Numbers that JSON lacks
are written as the strings "inf", "-inf" and "nan". All that is not plain ASCII is escaped, so that
a line may go to a terminal.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, get_args

from adec.errors import TraceError
from adec.events.json_fields import Fields, as_integer, as_optional_number, as_text, loads
from adec.events.records import (
    SCHEMA,
    Attempt,
    Candidate,
    End,
    Event,
    Failure,
    Forward,
    How,
    Kind,
    Pause,
    Purpose,
    Signal,
    Start,
    Step,
    Token,
    TreeRecord,
)

MAX_LINE = 16 * 1024 * 1024
"""Bytes of a line; the longest honest one is a start line with a prompt that fills a large
context."""

T = TypeVar("T")


# -- writing ---------------------------------------------------------------------------------------


def to_json(event: Event) -> dict[str, Any]:
    """The event as plain data, "type" first."""
    if isinstance(event, Step):
        return _step_to_json(event)
    if isinstance(event, Start):
        data = {
            name: getattr(event, name) for name in Start.__dataclass_fields__ if name != "schema"
        }
        for name in ("profile", "plain_ms_per_token"):
            if data[name] is None:
                del data[name]
        return {"type": "start", "schema": event.schema, **plain_data(data)}
    if isinstance(event, End):
        return {"type": "end", "summary": plain_data(event.summary)}
    return {"type": "error", "message": event.message, "exit_code": event.exit_code}


def encode_line(event: Event) -> str:
    """The event as one line of ASCII, without the newline."""
    return dumps(to_json(event))


def dumps(data: Any) -> str:
    """JSON in ASCII: nothing in it can act on a terminal."""
    # DEL is the one control character that JSON does not escape; it can only stand inside a string.
    return json.dumps(data, allow_nan=False).replace("\x7f", "\\u007f")


def _step_to_json(step: Step) -> dict[str, Any]:
    data: dict[str, Any] = {"type": "step", "kind": step.kind}
    if step.tokens:
        data["tokens"] = [_token_to_json(token) for token in step.tokens]
    if step.forwards:
        data["forwards"] = [
            {"model": f.model, "purpose": f.purpose, "tokens": f.tokens, "ms": _float(f.ms)}
            | ({} if f.layers is None else {"layers": f.layers})
            for f in step.forwards
        ]
    if step.own_ms:
        data["own_ms"] = _float(step.own_ms)
    if step.drafted:
        data["drafted"] = step.drafted
    if step.accepted:
        data["accepted"] = step.accepted
    if step.signal is not None:
        signal = step.signal
        data["signal"] = {"value": _float(signal.value), "threshold": _float(signal.threshold)}
    if step.reason is not None:
        data["reason"] = step.reason
    if step.plain_ms is not None:
        data["plain_ms"] = _float(step.plain_ms)
    if isinstance(step.detail, TreeRecord):
        tree = step.detail
        data["tree"] = {
            "tokens": list(tree.tokens),
            "parents": list(tree.parents),
            "probabilities": [None if p is None else _float(p) for p in tree.probabilities],
            "accepted": list(tree.accepted),
        }
        if tree.texts:
            data["tree"]["texts"] = list(tree.texts)
    elif isinstance(step.detail, Pause):
        data["pause"] = _pause_to_json(step.detail)
    elif isinstance(step.detail, Attempt):
        data["attempt"] = _attempt_to_json(step.detail)
    return data


def _pause_to_json(pause: Pause) -> dict[str, Any]:
    candidates = [
        {
            "tokens": list(candidate.tokens),
            "probability": _float(candidate.probability),
            "score": _float(candidate.score),
            **({"text": candidate.text} if candidate.text else {}),
        }
        for candidate in pause.candidates
    ]
    return {"candidates": candidates, "winner": pause.winner, "kept": pause.kept}


def _attempt_to_json(attempt: Attempt) -> dict[str, Any]:
    data: dict[str, Any] = {
        "round": attempt.round,
        "tokens": list(attempt.tokens),
        "score": None if attempt.score is None else _float(attempt.score),
        "best": attempt.best,
    }
    if attempt.feedback:
        data["feedback"] = attempt.feedback
    if attempt.verify_ms:
        data["verify_ms"] = _float(attempt.verify_ms)
    if attempt.text:
        data["text"] = attempt.text
    return data


def _token_to_json(token: Token) -> dict[str, Any]:
    data: dict[str, Any] = {"id": token.id, "source": token.source}
    if token.how != "written":
        data["how"] = token.how
    if token.text:
        data["text"] = token.text
    if token.entropy is not None:
        data["entropy"] = _float(token.entropy)
    if token.margin is not None:
        data["margin"] = _float(token.margin)
    if token.probability is not None:
        data["probability"] = _float(token.probability)
    if token.position is not None:
        data["position"] = token.position
    return data


def _float(value: float) -> float | str:
    return value if math.isfinite(value) else str(float(value))


def plain_data(value: Any) -> Any:
    """Free-form data as JSON knows it: floats that it lacks as words, tuples as lists, others by their text."""
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, dict):
        return {str(key): plain_data(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain_data(item) for item in value]
    return value if value is None or isinstance(value, str | int) else str(value)


# -- reading ---------------------------------------------------------------------------------------


def read_trace(path: Path) -> Iterator[Event]:
    """The events of a trace, a line at a time. Raises TraceError that names the line; what was
    yielded before stands."""
    try:
        with open(path, "rb") as file:
            yield from read_lines(file)
    except OSError as error:
        raise TraceError(f"cannot read the trace {path}: {error.strerror}") from None


def read_lines(file: BinaryIO) -> Iterator[Event]:
    """Likewise from an open file: a start, steps, at most one end or error; or an error alone."""
    number, closed = 0, False
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise TraceError(f"line {number}: longer than {MAX_LINE} bytes")
        try:
            event = from_json(loads(line))
        except TraceError as error:
            whole = line.endswith(b"\n")
            message = error.message if whole else "the trace is cut off here"
            raise TraceError(f"line {number}: {message}", hint=error.hint) from None
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


def from_json(data: Any) -> Event:
    """Plain data as an event; unknown keys are skipped. Raises TraceError."""
    fields = Fields(data, "event")
    kind = fields.text("type")
    if kind == "step":
        return _step_from_json(Fields(data, "step"))
    if kind == "start":
        return _start_from_json(Fields(data, "start"))
    if kind == "end":
        return End(fields.mapping("summary", {}))
    if kind == "error":
        return Failure(fields.text("message"), fields.integer("exit_code"))
    raise TraceError(f"unknown type of event {kind[:40]!r}")


def _start_from_json(fields: Fields) -> Start:
    schema = fields.integer("schema")
    if schema != SCHEMA:
        raise TraceError(
            f"the trace has schema {schema}, this adec reads schema {SCHEMA}",
            hint="Use the version of adec that wrote it",
        )
    models = fields.mapping("models")
    if not all(isinstance(model, dict) for model in models.values()):
        raise TraceError("models must be objects")
    return Start(
        adec=fields.text("adec"),
        strategy=fields.text("strategy"),
        guarantee=fields.text("guarantee"),
        paper=fields.optional_text("paper"),
        models=models,
        settings=fields.mapping("settings"),
        sampling=fields.mapping("sampling"),
        prompt=fields.text("prompt"),
        prompt_tokens=fields.count("prompt_tokens"),
        max_tokens=fields.count("max_tokens"),
        profile=fields.optional_text("profile"),
        plain_ms_per_token=fields.optional_number("plain_ms_per_token"),
    )


def _step_from_json(fields: Fields) -> Step:
    signal = fields.get("signal", None)
    return Step(
        kind=fields.word("kind", get_args(Kind)),
        tokens=tuple(_token_from_json(Fields(item, "token")) for item in fields.items("tokens")),
        forwards=tuple(
            _forward_from_json(Fields(item, "forward")) for item in fields.items("forwards")
        ),
        own_ms=fields.number("own_ms", 0.0),
        drafted=fields.count("drafted", 0),
        accepted=fields.count("accepted", 0),
        signal=None if signal is None else _signal_from_json(Fields(signal, "signal")),
        reason=fields.optional_text("reason"),
        detail=_detail_from_json(fields),
        plain_ms=fields.optional_number("plain_ms"),
    )


def _detail_from_json(fields: Fields) -> TreeRecord | Pause | Attempt | None:
    readers: dict[str, Callable[[Fields], TreeRecord | Pause | Attempt]] = {
        "tree": _tree_from_json,
        "pause": _pause_from_json,
        "attempt": _attempt_from_json,
    }
    found = [name for name in readers if fields.get(name, None) is not None]
    if len(found) > 1:
        raise TraceError(f"step has both {found[0]!r} and {found[1]!r}")
    return readers[found[0]](Fields(fields.get(found[0]), found[0])) if found else None


def _token_from_json(fields: Fields) -> Token:
    return Token(
        id=fields.integer("id"),
        source=fields.text("source"),
        how=fields.word("how", get_args(How), "written"),
        entropy=fields.optional_number("entropy"),
        margin=fields.optional_number("margin"),
        probability=fields.optional_number("probability"),
        text=fields.text("text", ""),
        position=fields.optional_count("position"),
    )


def _forward_from_json(fields: Fields) -> Forward:
    return Forward(
        model=fields.text("model"),
        purpose=fields.word("purpose", get_args(Purpose)),
        tokens=fields.count("tokens"),
        ms=fields.number("ms"),
        layers=fields.optional_count("layers"),
    )


def _signal_from_json(fields: Fields) -> Signal:
    return Signal(fields.number("value"), fields.number("threshold"))


def _tree_from_json(fields: Fields) -> TreeRecord:
    def each(name: str, check: Callable[[Any, str], T]) -> tuple[T, ...]:
        return tuple(check(item, f"tree {name}") for item in fields.items(name))

    return TreeRecord(
        tokens=each("tokens", as_integer),
        parents=each("parents", as_integer),
        probabilities=each("probabilities", as_optional_number),
        accepted=each("accepted", as_integer),
        texts=each("texts", as_text),
    )


def _pause_from_json(fields: Fields) -> Pause:
    candidates = tuple(
        _candidate_from_json(Fields(item, "candidate")) for item in fields.items("candidates")
    )
    winner = fields.integer("winner")
    if not 0 <= winner < len(candidates):
        raise TraceError(f"pause winner is {winner}, of {len(candidates)} candidates")
    return Pause(candidates, winner, fields.integer("kept", 0))


def _candidate_from_json(fields: Fields) -> Candidate:
    return Candidate(
        tokens=tuple(as_integer(item, "candidate tokens") for item in fields.items("tokens")),
        probability=fields.number("probability"),
        score=fields.number("score"),
        text=fields.text("text", ""),
    )


def _attempt_from_json(fields: Fields) -> Attempt:
    best = fields.get("best")
    if not isinstance(best, bool):
        raise TraceError("attempt best must be true or false")
    return Attempt(
        round=fields.integer("round"),
        tokens=tuple(as_integer(item, "attempt tokens") for item in fields.items("tokens")),
        score=fields.optional_number("score"),
        best=best,
        feedback=fields.text("feedback", ""),
        verify_ms=fields.number("verify_ms", 0.0),
        text=fields.text("text", ""),
    )
