"""JSON from anybody, decoded into types within bounds; and JSON that may go to a terminal.

A type's own checks are msgspec's: annotate its fields with `Count`, `Integer` and `Number`, and
every error names the place of what is wrong (`$.tokens[0].id`). All errors are ValueErrors, whose
text is short and printable whatever the input was. Bound the size of what you read yourself.
"""

from __future__ import annotations

import json
import math
import re
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

import msgspec

MAX_DEPTH = 32
"""Levels of lists and objects, counted from the outermost."""

T = TypeVar("T")

Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class _Word(Enum):
    """Stands in a decoded record for a float that JSON has no digits for, until `read` is done."""

    INFINITY = "inf"
    MINUS_INFINITY = "-inf"
    NAN = "nan"


if TYPE_CHECKING:
    Number = float
else:
    Number = float | _Word
    """A float; in JSON perhaps the string "inf", "-inf" or "nan"."""


class JsonReader(Generic[T]):
    """Decodes JSON into one type: a `msgspec.Struct`, a union of tagged ones, or `Any`."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(kind)

    def read(self, data: bytes) -> T:
        """One value. Unknown keys are skipped; raises ValueError on anything that does not fit."""
        try:
            try:
                value = self._decoder.decode(data)
            except ValueError:
                # msgspec refuses half a surrogate pair, which a file name may hold
                if b"\\ud" not in data.lower():
                    raise
                value = self._decode_surrogates(data)
            if data.count(b"{") + data.count(b"[") > MAX_DEPTH:
                _check_depth(value, MAX_DEPTH)
        except RecursionError:
            raise ValueError("nested too deeply") from None
        except ValueError as error:
            raise ValueError(_reason(error)) from None
        # the letters of a word may hide in escapes such as \u0069
        if b'inf"' in data or b'nan"' in data or b"\\u00" in data:
            value = _with_floats(value)
        return value

    def _decode_surrogates(self, data: bytes) -> T:
        plain = json.loads(data.decode(), parse_float=_finite, parse_constant=_no_constant)
        found: T = msgspec.convert(plain, self._kind)
        return found


def encode(record: Any, nulls: int = 0) -> str:
    """One line of ASCII, without a newline, that `JsonReader` reads back.

    `nulls` is how often None is written for this record. msgspec writes a float that JSON lacks as
    null, too; so with more nulls than that, the record is taken apart and written again in full.
    """
    try:
        data = msgspec.json.encode(record, enc_hook=_plain)
    except UnicodeEncodeError:
        return dumps(to_plain(record))
    if data.count(b"null") != nulls:
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


def _with_floats(value: Any) -> Any:
    """The same with floats in place of the words for them."""
    if isinstance(value, _Word):
        return float(value.value)
    if isinstance(value, tuple | list):
        return type(value)(map(_with_floats, value))
    if not isinstance(value, msgspec.Struct):
        return value
    old = {name: getattr(value, name) for name in value.__struct_fields__}
    new = {name: _with_floats(item) for name, item in old.items()}
    return msgspec.structs.replace(value, **new)


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
