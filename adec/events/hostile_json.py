"""JSON from anybody, decoded into types within bounds; and JSON that may go to a terminal.

A type's own checks are msgspec's: annotate its counts with `Count` or `Integer`, and every error
names the place of what is wrong (`$.tokens[0].id`). All errors are ValueErrors, whose text is
short and printable whatever the input was. Bound the size of what you read yourself.

Floats that JSON has no digits for are the strings "inf", "-inf" and "nan" where a float belongs.
"""

from __future__ import annotations

import json
import math
import operator
import re
from enum import Enum
from typing import Annotated, Any, Generic, TypeVar

import msgspec

MAX_DEPTH = 32
"""Levels of lists and objects, counted from the outermost."""
_WORDS = ("inf", "-inf", "nan")

_ANY = msgspec.json.Decoder()

T = TypeVar("T")

Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class JsonReader(Generic[T]):
    """Decodes JSON into one type: a `msgspec.Struct`, a union of tagged ones, or `Any`."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(kind)
        self._lax: msgspec.json.Decoder[T] = msgspec.json.Decoder(kind, strict=False)

    def read(self, data: bytes) -> T:
        """One value. Unknown keys are skipped; raises ValueError on anything that does not fit."""
        try:
            try:
                value = self._decoder.decode(data)
            except ValueError as error:
                value = self._read_slowly(data, error)
            if data.count(b"{") + data.count(b"[") > MAX_DEPTH:
                _check_depth(value, MAX_DEPTH)
        except RecursionError:
            raise ValueError("nested too deeply") from None
        except ValueError as error:
            raise ValueError(_reason(error)) from None
        return value

    def _read_slowly(self, data: bytes, first: ValueError) -> T:
        """What msgspec refuses: floats as words, and half a surrogate pair (in a path)."""
        halves = b"\\ud" in data.lower()
        try:
            if halves:
                plain = json.loads(data.decode(), parse_float=_finite, parse_constant=_no_constant)
                value: T = msgspec.convert(plain, self._kind, strict=False)
            else:
                plain, value = _ANY.decode(data), self._lax.decode(data)
        except ValueError as second:
            raise (second if halves else first) from None
        # lax, "inf" is a float; but "1" is an integer, too
        if not _is_strict(value, plain):
            raise first
        return value


def encode(record: Any, nulls: int = 0) -> str:
    """One line of ASCII, without a newline, that `JsonReader` reads back.

    `nulls` is how often None is written for this record. msgspec writes a float that JSON lacks as
    null, too; so with more nulls than that, words are put in place of such floats.
    """
    try:
        data = msgspec.json.encode(record, enc_hook=_plain)
        if data.count(b"null") != nulls:
            data = msgspec.json.encode(_with_words(record), enc_hook=_plain)
    except UnicodeEncodeError:
        return dumps(to_plain(record))
    text = msgspec.json.format(data, indent=0).decode()
    return text if text.isascii() and "\x7f" not in text else _UNSAFE.sub(_escape, text)


def to_plain(record: Any) -> Any:
    """Dicts, lists, strings, integers and finite floats; floats that JSON lacks become words, and
    objects of other types their text."""
    if isinstance(record, msgspec.Struct):
        record = msgspec.to_builtins(record, enc_hook=_plain)
    if isinstance(record, float):
        return float(record) if math.isfinite(record) else str(float(record))
    if isinstance(record, dict):
        return {str(key): to_plain(item) for key, item in record.items()}
    if isinstance(record, list | tuple | set | frozenset):
        return [to_plain(item) for item in record]
    return record if record is None or isinstance(record, str | int) else str(record)


def dumps(data: Any) -> str:
    """Plain data as one line of ASCII: nothing in it can act on a terminal."""
    # DEL is the one control character that JSON does not escape; it can only stand inside a string.
    return json.dumps(data, allow_nan=False).replace("\x7f", "\\u007f")


# A character beyond ASCII, or DEL, can only stand inside a string of JSON.
_UNSAFE = re.compile(r"[^ -~]")


def _escape(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1] if found[0] != "\x7f" else "\\u007f"


def _plain(value: Any) -> Any:
    """What msgspec does not know: subclasses of float and int, as numpy has them, or a text."""
    for kind in (float, int):
        if isinstance(value, kind):
            return kind(value)
    return str(value)


# Most of a record is this, so it is passed over first.
_SCALARS = frozenset((str, int, bool, float, type(None)))


def _with_words(value: Any) -> Any:
    """The same data with words for the floats that JSON lacks."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, dict):
        return {key: _with_words(item) for key, item in value.items()}
    is_struct = isinstance(value, msgspec.Struct)
    if not is_struct and not isinstance(value, tuple | list | set | frozenset):
        return value
    old = msgspec.structs.astuple(value) if is_struct else value
    new = [
        item
        if type(item) in _SCALARS and (type(item) is not float or math.isfinite(item))
        else _with_words(item)
        for item in old
    ]
    if all(map(operator.is_, old, new)):
        return value
    if not is_struct:
        return new
    changed = zip(value.__struct_fields__, old, new, strict=True)
    return msgspec.structs.replace(value, **{name: b for name, a, b in changed if b is not a})


def _is_strict(value: Any, plain: Any) -> bool:
    """Whether nothing but words for floats was converted from one type to another."""
    kind = type(value)
    if kind is type(plain) and kind in _SCALARS:
        return True
    if isinstance(value, msgspec.Struct):
        for name, key in zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True):
            if key in plain and not _is_strict(getattr(value, name), plain[key]):
                return False
        return True
    if isinstance(value, dict):
        return all(_is_strict(item, plain[key]) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_strict, value, plain))
    if isinstance(value, float):
        return type(plain) is int or plain in _WORDS
    return isinstance(value, Enum)


def _check_depth(value: Any, left: int) -> None:
    if isinstance(value, msgspec.Struct):
        items: Any = [getattr(value, name) for name in value.__struct_fields__]
    elif isinstance(value, dict):
        items = value.values()
    elif isinstance(value, list | tuple):
        items = value
    else:
        return
    if left == 0:
        raise ValueError("nested too deeply")
    for item in items:
        _check_depth(item, left - 1)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("Number out of range")
    return value


def _no_constant(name: str) -> float:
    raise ValueError(f"JSON is malformed: {name} is no number")


def _reason(error: ValueError) -> str:
    """msgspec's message, which may quote the input."""
    if isinstance(error, UnicodeError):
        return "JSON is malformed: text that is not UTF-8"
    text = _UNSAFE.sub(_escape, str(error))
    # what is wrong stands before, where it is behind what was quoted
    return text if len(text) <= 200 else f"{text[:100]} … {text[-90:]}"
