"""JSON of any type and from anybody: what comes back, what is refused, and in which words."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from adec.events.hostile_json import Count, Integer, JsonReader, dumps, encode, to_plain

text = st.text(st.characters(), max_size=20)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)


class Inner(msgspec.Struct, frozen=True, omit_defaults=True):
    value: float
    maybe: float | None = None
    name: str = ""


class Worded(msgspec.Struct, frozen=True, kw_only=True):
    value: float = math.inf
    free: Any = None


class Outer(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="outer"):
    integer: Integer
    count: Count = 0
    several: tuple[float | None, ...] = ()
    inner: tuple[Inner, ...] = ()
    free: dict[str, Any] = {}


# `==` on records, but a NaN is itself
def same(one: Any, two: Any) -> bool:
    return repr(one) == repr(two)


inners = st.builds(Inner, st.floats(), st.none() | st.floats(), text)
outers = st.builds(
    Outer,
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 2**63 - 1),
    st.lists(st.none() | st.floats(), max_size=3).map(tuple),
    st.lists(inners, max_size=3).map(tuple),
    st.dictionaries(text, plain.map(to_plain), max_size=3),
)
OUTER: JsonReader[Outer] = JsonReader(Outer)
ANY: JsonReader[Any] = JsonReader(Any)


@settings(max_examples=300)
@given(outers)
@example(Outer(0, inner=(Inner(math.inf, name="null"), Inner(math.nan, -math.inf))))
@example(Outer(0, inner=(Inner(1.0, name="\ud800 \x1b[2J\x7f\x9b\u202e"),), free={"a": "inf"}))
def test_any_record_comes_back_from_one_line_of_plain_ascii(record: Outer) -> None:
    line = encode(record)
    assert line.isascii() and line.isprintable() and line.startswith('{"type": "outer", ')
    assert same(OUTER.read(line.encode()), record)
    nulls = sum(value is None for value in record.several)
    assert json.loads(encode(record, nulls)) == json.loads(line) == to_plain(record)


@settings(max_examples=100)
@given(plain)
def test_plain_data_comes_back(data: Any) -> None:
    written = dumps(to_plain(data))
    assert written.isascii() and written.isprintable()
    assert ANY.read(written.encode()) == to_plain(data)


def test_words_are_floats_only_where_a_number_is_wanted() -> None:
    found = OUTER.read(
        b'{"type": "outer", "integer": 1, "several": ["inf", "\\u006ean", null, 2],'
        b' "inner": [{"value": "-inf", "name": "inf"}], "free": {"a": "inf"}}'
    )
    assert found.several[0] == math.inf and found.several[2:] == (None, 2.0)
    assert found.several[1] is not None and math.isnan(found.several[1])
    assert found.inner == (Inner(-math.inf, name="inf"),) and found.free == {"a": "inf"}


def test_what_json_does_not_know_is_written_as_what_it_is_near() -> None:
    data = {"x": [np.float64(0.5), np.float64("inf"), (1, Path("a"))], 2: {3}}
    assert to_plain(data) == {"x": [0.5, "inf", [1, "a"]], "2": [3]}
    assert encode(Inner(np.float64(0.5), np.float64("nan"))) == '{"value": 0.5, "maybe": "nan"}'
    free = {"a": {math.inf}, "b": [np.float64(1.5), {"c": -math.inf}], "d": None, "e": Path("f")}
    for value, written in ((math.nan, "nan"), (2.5, 2.5)):
        assert json.loads(encode(Worded(value=value, free=free))) == {
            "value": written,
            "free": {"a": ["inf"], "b": [1.5, {"c": "-inf"}], "d": None, "e": "f"},
        }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Input data was truncated"),
        (b"[]", "Expected `object`, got `array`"),
        (b"{}", "lacks|missing"),
        (b'{"type": "\\u001b[2J"}', r"Invalid value '\\u001b\[2J' - at `\$.type`"),
        (b'{"integer": 1, "count": -1}', r"`int` >= 0 - at `\$.count`"),
        (b'{"integer": 1, "count": true}', r"got `bool` - at `\$.count`"),
        (b'{"integer": 1.0}', r"got `float` - at `\$.integer`"),
        (b'{"integer": 1' + b"0" * 19 + b"}", r"at `\$.integer`"),
        (b'{"integer": 1' + b"0" * 9999 + b"}", r"out of range - at `\$.integer`"),
        (b'{"integer": 1, "several": ["one"]}', r"got `str` - at `\$.several\[0\]`"),
        (b'{"integer": "1", "several": ["inf"]}', r"got `str` - at `\$.integer`"),
        (b'{"integer": 1, "several": ["inf", "1"]}', r"got `str` - at `\$.several"),
        (b'{"integer": 1, "several": ["inf", "null"]}', r"got `str` - at `\$.several"),
        (b'{"integer": 1, "several": ["inf", true]}', r"got `str` - at `\$.several"),
        (b'{"integer": 1.0, "several": ["inf"]}', r"got `float` - at `\$.integer"),
        (b'{"integer": "inf"}', r"got `str` - at `\$.integer`"),
        (b'{"integer": 1, "inner": [{"value": "Infinity"}]}', r"at `\$.inner\[0\].value`"),
        (b'{"integer": 1, "several": [NaN]}', "malformed"),
        (b'{"integer": 1, "several": [1e999]}', r"out of range - at `\$.several\[0\]`"),
        (b'{"integer": 1, "inner": [{"value": null}]}', r"at `\$.inner\[0\].value`"),
        (b'{"integer": 1, "free": {"a": "\xff"}}', "that is not UTF-8"),
        (b'{"integer": 1, "free": {"a": ' + b"[" * 40 + b"]" * 40 + b"}}", "nested too deeply"),
        (b'{"integer": 1, "free": {"a": ' + b"[" * 10**6, "nested too deeply"),
        (b'{"integer": 1, "free": {"a": "\\ud800", "b": 1e999}}', "out of range"),
        (b'{"integer": 1, "free": {"a": "\\ud800", "b": NaN}}', "malformed"),
        (b'{"integer": "\\ud800"}', "that is not UTF-8"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(content: bytes, message: str) -> None:
    if content.startswith(b'{"i'):
        content = b'{"type": "outer", ' + content[1:]
    with pytest.raises(ValueError, match=message):
        OUTER.read(content)


@pytest.mark.parametrize("odd", ["\x1b", "\x7f", "x", "\u202e", "\ud800"])
def test_an_error_is_short_and_printable_whatever_it_quotes(odd: str) -> None:
    for content in ({"type": odd * 10**6}, {"type": "outer", "integer": 1, "several": [odd * 999]}):
        with pytest.raises(ValueError) as caught:
            OUTER.read(json.dumps(content).encode())
        reason = str(caught.value)
        assert len(reason) < 300 and reason.isprintable() and ("at `$" in reason or odd > "\ud7ff")


@settings(max_examples=200)
@given(st.binary(max_size=60))
def test_random_bytes_are_refused_or_read(content: bytes) -> None:
    for reader in (OUTER, ANY):
        with suppress(ValueError):
            reader.read(content)
