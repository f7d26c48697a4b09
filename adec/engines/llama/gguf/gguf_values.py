"""What a GGUF header holds: typed values and tensor descriptions."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, TypeVar

from adec.errors import ModelFileError

STRING, ARRAY, BOOL = 8, 9, 7
FLOATS = frozenset({6, 12})
SCALARS = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: struct.Struct("<I"),
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    7: struct.Struct("<B"),
    10: struct.Struct("<Q"),
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}


@dataclass(frozen=True, slots=True)
class Array:
    """An array value: `raw` holds numbers as bytes, `strings` those under a key to keep."""

    type: int
    count: int
    strings: tuple[bytes, ...] | None = field(default=None, repr=False)
    raw: bytes = field(default=b"", repr=False)

    def numbers(self) -> tuple[float, ...]:
        """The elements of a numeric array; empty for strings."""
        if self.type not in SCALARS:
            return ()
        return struct.unpack(f"<{self.count}{SCALARS[self.type].format[1:]}", self.raw)


Value = int | float | bool | str | Array
T = TypeVar("T", int, bool, str, Array)


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor's description; `shape` has the fastest dimension first, as in the file."""

    name: str
    shape: tuple[int, ...]
    type: str
    elements: int
    bytes: int
    path: Path
    """The file that holds it: of a split model, one of its parts."""
    start: int
    """The first byte of its data there."""


@dataclass(frozen=True)
class GgufFile:
    """The header of a file. Tensors are in file order."""

    path: Path
    size: int
    version: int
    values: dict[str, Value]
    types: dict[str, int]
    tensors: dict[str, Tensor]
    spans: dict[str, tuple[int, int]]
    """By key, the bytes of its pair in the file, the key's own included: from, to."""
    alignment: int
    """Bytes to a multiple of which the data of tensors is padded."""

    def fail(self, what: str, hint: str | None = None) -> NoReturn:
        """Raise ModelFileError about this file."""
        raise ModelFileError(f"{self.path} {what}", hint=hint)

    def text(self, key: str) -> str | None:
        """A string, or None. Raises ModelFileError when the value is of another type, as all do."""
        return self._value(key, str, "a string")

    def integer(self, key: str) -> int | None:
        """An integer, or None."""
        return self._value(key, int, "an integer")

    def flag(self, key: str) -> bool | None:
        """A boolean, or None."""
        return self._value(key, bool, "a boolean")

    def array(self, key: str) -> Array | None:
        """An array, or None."""
        return self._value(key, Array, "an array")

    def _value(self, key: str, kind: type[T], what: str) -> T | None:
        value = self.values.get(key)
        if value is None or type(value) is kind:  # a bool is no integer here
            return value
        self.fail(f"has a {key} that is not {what}")


def shown(text: str | bytes) -> str:
    """A string from a file, quoted and escaped for a message; at most about 60 characters."""
    if isinstance(text, bytes):
        text = text[:64].decode("utf-8", errors="replace")
    return ascii(text if len(text) <= 56 else text[:53] + "...")
