"""JSON that anybody may have written, read within bounds and by type. Everything wrong is a
TraceError."""

from __future__ import annotations

import json
import math
from typing import Any

from adec.errors import TraceError

MAX_DEPTH = 32
MAX_INTEGER = 2**63 - 1
# Words for the floats that JSON has no digits for.
_WORDS = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}

_REQUIRED: Any = object()


def loads(line: bytes) -> Any:
    """One JSON value: UTF-8, no NaN, no number out of range, no deep nesting."""
    try:
        data = json.loads(
            line.decode(), parse_int=_integer, parse_float=_finite, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as error:
        # the line itself stays out of the message: it may be long or odd
        reason = (
            error.msg if isinstance(error, json.JSONDecodeError) else "not JSON that adec writes"
        )
        raise TraceError(reason) from None
    _check_depth(data, MAX_DEPTH)
    return data


class Fields:
    """A JSON object whose values are asked for by name and type."""

    def __init__(self, data: Any, what: str) -> None:
        if not isinstance(data, dict):
            raise TraceError(f"{what} must be an object")
        self._data = data
        self._what = what

    def get(self, name: str, default: Any = _REQUIRED) -> Any:
        value = self._data.get(name, default)
        if value is _REQUIRED:
            raise TraceError(f"{self._what} lacks {name!r}")
        return value

    def text(self, name: str, default: Any = _REQUIRED) -> str:
        return as_text(self.get(name, default), f"{self._what} {name}")

    def optional_text(self, name: str) -> str | None:
        return None if self.get(name, None) is None else self.text(name)

    def integer(self, name: str, default: Any = _REQUIRED) -> int:
        return as_integer(self.get(name, default), f"{self._what} {name}")

    def count(self, name: str, default: Any = _REQUIRED) -> int:
        return as_count(self.get(name, default), f"{self._what} {name}")

    def optional_count(self, name: str) -> int | None:
        return None if self.get(name, None) is None else self.count(name)

    def number(self, name: str, default: Any = _REQUIRED) -> float:
        return as_number(self.get(name, default), f"{self._what} {name}")

    def optional_number(self, name: str) -> float | None:
        return None if self.get(name, None) is None else self.number(name)

    def word(self, name: str, known: tuple[Any, ...], default: Any = _REQUIRED) -> Any:
        word = self.text(name, default)
        if word not in known:
            raise TraceError(f"{self._what} {name} is {word[:40]!r}, known are {', '.join(known)}")
        return word

    def mapping(self, name: str, default: Any = _REQUIRED) -> dict[str, Any]:
        value = self.get(name, default)
        if not isinstance(value, dict):
            raise TraceError(f"{self._what} {name} must be an object")
        return value

    def items(self, name: str) -> list[Any]:
        value = self.get(name, [])
        if not isinstance(value, list):
            raise TraceError(f"{self._what} {name} must be a list")
        return value


def as_text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise TraceError(f"{what} must be a string")
    return value


def as_integer(value: Any, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > MAX_INTEGER:
        raise TraceError(f"{what} must be an integer of 64 bits")
    return value


def as_count(value: Any, what: str) -> int:
    count = as_integer(value, what)
    if count < 0:
        raise TraceError(f"{what} must not be negative")
    return count


def as_number(value: Any, what: str) -> float:
    if isinstance(value, str) and value in _WORDS:
        return _WORDS[value]
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TraceError(f"{what} must be a number")
    return float(value)


def as_optional_number(value: Any, what: str) -> float | None:
    return None if value is None else as_number(value, what)


def _integer(digits: str) -> int:
    if len(digits) > 20:
        raise ValueError("too long an integer")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("too large a number")
    return value


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _check_depth(value: Any, left: int) -> None:
    if left == 0:
        raise TraceError("nested too deeply")
    if isinstance(value, dict):
        for item in value.values():
            _check_depth(item, left - 1)
    elif isinstance(value, list):
        for item in value:
            _check_depth(item, left - 1)
