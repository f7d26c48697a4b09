"""Events to JSON lines and back, exactly; and what a hostile trace may do, which is nothing."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from adec.errors import AdecError, TraceError
from adec.events.codec import MAX_LINE, encode_line, read_lines, read_trace, to_json
from adec.events.records import (
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

number = st.floats(allow_nan=False)
count = st.integers(0, 2**63 - 1)
text = st.text(max_size=20)
maybe = st.none() | number
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
table = st.dictionaries(text, plain, max_size=4)


def tuples(items: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(items, max_size=4).map(tuple)


token = st.builds(
    Token,
    id=count,
    source=text,
    how=st.sampled_from(get_args(How)),
    entropy=maybe,
    margin=maybe,
    probability=maybe,
    text=text,
    position=st.none() | count,
)
forward = st.builds(
    Forward,
    model=st.sampled_from(["small", "large"]) | text,
    purpose=st.sampled_from(get_args(Purpose)),
    tokens=count,
    ms=number,
    layers=st.none() | count,
)
tree = st.builds(
    TreeRecord,
    tokens=tuples(count),
    parents=tuples(st.integers(-1, 9)),
    probabilities=tuples(maybe),
    accepted=tuples(count),
    texts=tuples(text),
)
candidate = st.builds(Candidate, tokens=tuples(count), probability=number, score=number, text=text)
pause = st.lists(candidate, min_size=1, max_size=4).flatmap(
    lambda found: st.builds(
        Pause,
        candidates=st.just(tuple(found)),
        winner=st.integers(0, len(found) - 1),
        kept=count,
    )
)
attempt = st.builds(
    Attempt,
    round=count,
    tokens=tuples(count),
    score=maybe,
    best=st.booleans(),
    feedback=text,
    verify_ms=number,
    text=text,
)
step = st.builds(
    Step,
    kind=st.sampled_from(get_args(Kind)),
    tokens=tuples(token),
    forwards=tuples(forward),
    own_ms=number,
    drafted=count,
    accepted=count,
    signal=st.none() | st.builds(Signal, value=number, threshold=number),
    reason=st.none() | text,
    detail=st.none() | tree | pause | attempt,
    plain_ms=maybe,
)
start = st.builds(
    Start,
    adec=text,
    strategy=text,
    guarantee=text,
    paper=st.none() | text,
    models=st.dictionaries(text, table, max_size=2),
    settings=table,
    sampling=table,
    prompt=text,
    prompt_tokens=count,
    max_tokens=count,
    profile=st.none() | text,
    plain_ms_per_token=maybe,
    schema=st.just(1),
)
event = st.one_of(step, start, st.builds(End, table), st.builds(Failure, text, count))

DRAFT = '{"type": "step", "kind": "draft", '
TREE = '{"tokens": [], "parents": [], "probabilities": [], "accepted": []}'
ATTEMPT = '{"round": 1, "tokens": [], "score": null, "best": true}'
START = Start("0.1.0", "plain", "exact", None, {}, {}, {}, "hi", 1, 8)


def read(line: str) -> Event:
    """The event of one line, which need not be the first of a trace."""
    return list(read_lines(lines(START, line) if '"start"' not in line else lines(line)))[-1]


@settings(max_examples=300)
@given(event)
def test_round_trip(event: Event) -> None:
    line = encode_line(event)
    assert "\n" not in line and line.isascii() and line.isprintable()
    assert line.startswith('{"type": ')
    assert read(line) == event
    assert json.loads(line) == to_json(event)


def test_golden_lines() -> None:
    step = Step(
        "wake",
        (Token(17, "small", "accepted", entropy=0.5, text=" the"), Token(4, "large", "bonus")),
        (Forward("large", "verify", 3, 12.5),),
        own_ms=0.25,
        drafted=1,
        accepted=1,
        signal=Signal(0.9, 0.6),
        reason="entropy 0.9 over 0.6",
    )
    assert encode_line(step) == (
        '{"type": "step", "kind": "wake", "tokens": [{"id": 17, "source": "small", '
        '"how": "accepted", "entropy": 0.5, "text": " the"}, {"id": 4, "source": "large", '
        '"how": "bonus"}], "forwards": [{"model": "large", "purpose": "verify", "tokens": 3, '
        '"ms": 12.5}], "own_ms": 0.25, "drafted": 1, "accepted": 1, '
        '"signal": {"value": 0.9, "threshold": 0.6}, "reason": "entropy 0.9 over 0.6"}'
    )
    assert encode_line(Step("prompt")) == '{"type": "step", "kind": "prompt"}'
    assert encode_line(Failure("no", 3)) == '{"type": "error", "message": "no", "exit_code": 3}'
    assert encode_line(START).startswith('{"type": "start", "schema": 1, "adec": "0.1.0", ')
    assert encode_line(End({"a": 1})) == '{"type": "end", "summary": {"a": 1}}'


def test_numbers_that_json_lacks() -> None:
    odd = Step("draft", signal=Signal(float("nan"), float("inf")))
    assert to_json(odd)["signal"] == {"value": "nan", "threshold": "inf"}
    back = read(encode_line(odd))
    assert isinstance(back, Step) and repr(back) == repr(odd)
    summary = {"x": float("-inf"), "y": [Path("a")]}
    assert to_json(End(summary))["summary"] == {"x": "-inf", "y": ["a"]}


@given(tree | pause | attempt, st.sampled_from([math.inf, -math.inf, math.nan]))
def test_a_detail_holds_none_and_what_json_lacks_side_by_side(
    detail: TreeRecord | Pause | Attempt, odd: float
) -> None:
    """Both are null to the encoder that is in a hurry."""
    for own_ms in (0.5, odd):
        tried = Step("wake", own_ms=own_ms, detail=detail, reason="null")
        assert repr(read(encode_line(tried))) == repr(tried)


def test_no_raw_control_character_in_a_line() -> None:
    line = encode_line(Step("write", (Token(1, "large", text="\x1b[2J\x7f\x9b\u202e\ud800é"),)))
    assert line.isascii() and line.isprintable()


def test_unknown_keys_are_skipped() -> None:
    line = '{"type": "step", "kind": "draft", "colour": [1], "detail": {"tokens": 3}}'
    assert read(line) == Step("draft")


def lines(*events: Event | str | bytes) -> BytesIO:
    parts = [
        e
        if isinstance(e, bytes)
        else (e if isinstance(e, str) else encode_line(e)).encode() + b"\n"
        for e in events
    ]
    return BytesIO(b"".join(parts))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "empty"),
        ([Step("draft")], "line 1: the start is missing"),
        ([START, START], "line 2: a second start"),
        ([START, End({}), Step("draft")], "line 3: more after the end"),
        (
            [replace(START, schema=2)],
            "line 1: the trace has schema '2', this adec reads schema 1. Use",
        ),
        (['{"type": "start", "adec": "0.1.0"}'], "line 1: the trace has schema 'None'"),
        ([START, "{}"], "line 2: Object missing required field `type`"),
        ([START, "[]"], "line 2: Expected `object`, got `array`"),
        ([START, '{"type": "leap"}'], r"line 2: Invalid value 'leap' - at `\$.type`"),
        ([START, '{"type": "\\u001b[2J"}'], r"line 2: Invalid value '\\u001b\[2J'"),
        ([START, '{"type": "step", "kind": "nap"}'], r"'nap' - at `\$.kind`"),
        ([START, DRAFT + '"tokens": 3}'], r"got `int` - at `\$.tokens`"),
        ([START, DRAFT + '"tokens": [3]}'], r"got `int` - at `\$.tokens\[0\]`"),
        ([START, DRAFT + '"tokens": [{"id": 1}]}'], r"`source` - at `\$.tokens\[0\]`"),
        ([START, DRAFT + '"pause": {"candidates": [], "winner": 0}}'], r"at `\$.pause.winner`"),
        ([START, DRAFT + f'"tree": {TREE}, "pause": null, "attempt": {ATTEMPT}}}'], "only one of"),
        ([START, DRAFT + '"drafted": true}'], r"got `bool` - at `\$.drafted`"),
        ([START, DRAFT + '"drafted": -1}'], r"`int` >= 0 - at `\$.drafted`"),
        ([START, DRAFT + '"drafted": 1' + "0" * 19 + "}"], "<= 9223372036854775807"),
        ([START, DRAFT + '"drafted": 1' + "0" * 9999 + "}"], "line 2: .* out of range"),
        ([START, DRAFT + '"own_ms": NaN}'], "line 2: JSON is malformed"),
        ([START, DRAFT + '"own_ms": 1e999}'], "line 2: Number out of range"),
        ([START, DRAFT + '"own_ms": "infinity"}'], r"got `str` - at `\$.own_ms`"),
        ([START, '{"type": "end", "summary": ' + "[" * 100_000], "line 2: "),
        ([START, '{"type": "end", "summary": {"a": ' + "[" * 40 + "]" * 40 + "}}"], "nested too"),
        ([START, b'{"type": "step", "ki'], "line 2: the trace is cut off here"),
        ([START, b"\xff\n"], "line 2: JSON is malformed"),
        ([START, b"\n"], "line 2: Input data was truncated"),
    ],
)
def test_what_is_wrong_is_named(content: list[Event | str | bytes], message: str) -> None:
    with pytest.raises(TraceError, match=message):
        list(read_lines(lines(*content)))


def test_a_long_line_is_not_read_whole() -> None:
    with pytest.raises(TraceError, match="line 1: longer"):
        list(read_lines(BytesIO(b"x" * (MAX_LINE + 2))))


def test_a_cut_off_trace_gives_what_it_has() -> None:
    reader = read_lines(lines(START, Step("draft"), b'{"type": "st'))
    assert next(reader) == START
    assert next(reader) == Step("draft")
    with pytest.raises(TraceError, match="line 3"):
        next(reader)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.jsonl"):
        with pytest.raises(TraceError, match="cannot read the trace"):
            list(read_trace(path))


pieces = st.sampled_from(
    [
        '"type"',
        ": ",
        '"step"',
        '"start"',
        "{",
        "}",
        "[",
        "]",
        "1",
        "null",
        ", ",
        '"kind"',
        "\n",
        "1e9",
    ]
)


@settings(max_examples=200)
@given(st.binary(max_size=60) | st.lists(pieces, max_size=30).map(lambda p: "".join(p).encode()))
def test_random_bytes(content: bytes) -> None:
    for data in (content, encode_line(START).encode() + b"\n" + content):
        with suppress(AdecError):
            list(read_lines(BytesIO(data)))


@settings(max_examples=100)
@given(event, st.data())
def test_random_damage(event: Event, data: st.DataObject) -> None:
    """A valid event with one value replaced by another of any type."""
    damaged = to_json(event)
    key = data.draw(st.sampled_from(sorted(damaged)))
    damaged[key] = data.draw(plain)
    with suppress(TraceError):
        read(json.dumps(damaged))
