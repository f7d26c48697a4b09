"""The container of a GGUF file: key-value pairs and tensor descriptions.

Layout (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md): magic, version, two counts,
pairs, tensor descriptions, padding, data. A file is hostile input: a count or a length is compared
with what the file can hold before it is used, and `MAX_METADATA` bounds time and memory. What
llama.cpp refuses is refused here too, with a sentence that says what is wrong.
"""

from __future__ import annotations

import math
import stat
import struct
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, NoReturn

from adec.engines.llama.gguf.gguf_values import (
    ARRAY,
    BOOL,
    FLOATS,
    SCALARS,
    STRING,
    Array,
    GgufFile,
    Tensor,
    Value,
    shown,
)
from adec.engines.stand_in import refuse_stand_in
from adec.errors import ModelFileError

MAX_METADATA = 128 << 20
"""Bytes of header. The largest vocabularies, with merges and a tokenizer.json, need about 50 MB."""
MAX_PAIRS = 4096
MAX_KEY = 256
MAX_ELEMENTS = 4 << 20
"""Most elements of one array, and most strings in all arrays together."""
MAX_TENSORS = 65536
MAX_NAME = 63
MAX_DIMENSIONS = 4
MAX_SIZE = 1 << 63

_WORTH_KNOWING = 4096
"""Elements from which a string array is worth recognising."""
_ZEROS = bytes(7)
_STRIDE = 1 << 18
"""Bytes of a string array that are split at once."""
_U32, _U64 = SCALARS[4], SCALARS[10]

TENSOR_TYPES = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22), 7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210),
    16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50), 20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136), 26: ("I32", 1, 4),
    29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17), 40: ("NVFP4", 64, 36), 41: ("Q1_0", 128, 18), 42: ("Q2_0", 64, 18),
}  # fmt: skip
"""Type number to (name, elements a block, bytes a block), without types that no file holds."""


class KnownStrings:
    """String arrays of files read before, so that files of one family are taken apart once.

    An array is recognised by its bytes. The last few are kept.
    """

    def __init__(self, most: int = 12) -> None:
        self._most = most
        self._known: list[tuple[int, bytes, tuple[bytes, ...] | None]] = []

    def candidates(
        self, count: int, keep: bool
    ) -> Iterator[tuple[bytes, tuple[bytes, ...] | None]]:
        """(bytes, elements) of the known arrays of `count` elements, the latest first."""
        for known, raw, strings in reversed(self._known):
            if known == count and (strings is not None) == keep:
                yield raw, strings

    def add(self, count: int, raw: bytes, strings: tuple[bytes, ...] | None) -> None:
        """Remember an array; the oldest one is forgotten."""
        self._known = [*self._known[1 - self._most :], (count, raw, strings)]


def read_gguf(
    path: Path, *, keep: Collection[str] = (), known: KnownStrings | None = None
) -> GgufFile:
    """Read the container; string arrays keep their elements under the keys in `keep` only.

    `known` speeds up reading many files. Raises ModelFileError when anything is broken, OSError
    when the file cannot be read.
    """
    with path.open("rb", buffering=0) if _is_regular(path) else _refuse(path) as file:
        size = file.seek(0, 2)
        file.seek(0)
        return _Reader(path, file, size, frozenset(keep), known).run()


def _is_regular(path: Path) -> bool:
    # opening a pipe would wait for its other end, and a device may never end
    return stat.S_ISREG(path.stat().st_mode)


def _refuse(path: Path) -> NoReturn:
    raise ModelFileError(f"{path} is not a regular file")


class _Reader:
    """Reads forward over a window that grows from the start of the file."""

    def __init__(
        self,
        path: Path,
        file: BinaryIO,
        size: int,
        keep: frozenset[str],
        known: KnownStrings | None,
    ) -> None:
        self._path, self._file, self._size, self._keep = path, file, size, keep
        self._known = known
        self._data = b""
        self._at = 0
        self._strings = 0

    def run(self) -> GgufFile:
        version, tensor_count, pair_count = self._preamble()
        values, types, spans = self._pairs(pair_count)
        alignment = self._alignment(values)
        tensors = self._tensors(tensor_count, alignment)
        return GgufFile(self._path, self._size, version, values, types, tensors, spans, alignment)

    def _preamble(self) -> tuple[int, int, int]:
        if self._size < 24 or self._take(4) != b"GGUF":
            refuse_stand_in(self._path, self._peek(0))
            self._fail("is not a GGUF file")
        version = self._number(_U32)
        if version & 0xFFFF == 0:
            self._fail("is a big-endian GGUF file", hint="convert it for this machine")
        if version not in (2, 3):
            self._fail(f"has GGUF version {version}; versions 2 and 3 can be read")
        tensor_count, pair_count = self._number(_U64), self._number(_U64)
        # a tensor takes at least 24 bytes, a pair 13
        if tensor_count > min(MAX_TENSORS, self._left() // 24):
            self._fail(f"declares {tensor_count} tensors, more than it can hold")
        if pair_count > min(MAX_PAIRS, self._left() // 13):
            self._fail(f"declares {pair_count} key-value pairs, more than it can hold")
        return version, tensor_count, pair_count

    def _pairs(
        self, count: int
    ) -> tuple[dict[str, Value], dict[str, int], dict[str, tuple[int, int]]]:
        values: dict[str, Value] = {}
        types: dict[str, int] = {}
        spans: dict[str, tuple[int, int]] = {}
        for _ in range(count):
            start = self._at
            key = self._string(MAX_KEY, "a key")
            if not key or key in values:
                self._fail(f"has the key {shown(key)} twice" if key else "has an empty key")
            kind = types[key] = self._number(_U32)
            values[key] = self._array(key) if kind == ARRAY else self._scalar(key, kind)
            spans[key] = start, self._at
        return values, types, spans

    def _scalar(self, key: str, kind: int) -> Value:
        if kind == STRING:
            return self._string(MAX_METADATA, f"the value of {shown(key)}")
        layout = SCALARS.get(kind)
        if layout is None:
            self._fail(f"has a value of unknown type {kind} under {shown(key)}")
        (value,) = layout.unpack(self._take(layout.size))
        if kind in FLOATS and not math.isfinite(value):
            self._fail(f"has {value} under {shown(key)}")
        return bool(value) if kind == BOOL else value

    def _array(self, key: str) -> Array:
        kind, count = self._number(_U32), self._number(_U64)
        if kind == STRING:
            self._strings += count
            if self._strings > MAX_ELEMENTS or count > self._left() // 8:
                self._fail(f"declares {count} strings under {shown(key)}, more than it can hold")
            return Array(kind, count, self._many_strings(count, key in self._keep))
        layout = SCALARS.get(kind)
        if layout is None:  # also an array of arrays, which llama.cpp does not read
            self._fail(f"has an array of unsupported type {kind} under {shown(key)}")
        if count > MAX_ELEMENTS or count * layout.size > self._left():
            self._fail(f"declares {count} elements under {shown(key)}, more than it can hold")
        return Array(kind, count, raw=self._take(count * layout.size))

    def _many_strings(self, count: int, keep: bool) -> tuple[bytes, ...] | None:
        if self._known is None or count < _WORTH_KNOWING:
            return self._read_strings(count, keep)
        start = self._at
        for raw, strings in self._known.candidates(count, keep):
            end = start + len(raw)
            if end > min(self._size, MAX_METADATA) or not raw.startswith(self._peek(start)):
                continue
            data = self._data if end <= len(self._data) else self._grow(end)
            if data[start:end] == raw:
                self._at = end
                return strings
        strings = self._read_strings(count, keep)
        self._known.add(count, self._data[start : self._at], strings)
        return strings

    def _peek(self, at: int) -> bytes:
        data = self._data if at + 64 <= len(self._data) else self._grow(min(at + 64, self._size))
        return data[at : at + 64]

    def _read_strings(self, count: int, keep: bool) -> tuple[bytes, ...] | None:
        # runs some hundred thousand times, so names are local and the window grows by doubling
        found: list[bytes] = []
        unpack, data, at, end = _U64.unpack_from, self._data, self._at, len(self._data)
        left = count
        while left:
            # Nearly all are shorter than 256 bytes and hold no zero byte: the eight bytes of a
            # length are then one byte and seven zeros, at which a stretch of them can be split.
            parts = data[at : at + _STRIDE].split(_ZEROS, left)
            length = parts[0][0] if len(parts[0]) == 1 else -2
            whole = 0
            for part in parts[1:-1]:
                if len(part) - 1 != length:
                    break
                length = part[-1]
                whole += 1
                at += 7 + len(part)
            if keep:
                found += [part[:-1] for part in parts[1 : 1 + whole]]
            left -= whole
            # the slow way: one that is longer or reaches out of the stretch; many where few fit
            for _ in range(1 if whole > _WORTH_KNOWING else min(left, _WORTH_KNOWING)):
                start = at + 8
                if start > end:
                    data = self._grow(start)
                    end = len(data)
                at = start + unpack(data, at)[0]
                if at > end:
                    data = self._grow(at)
                    end = len(data)
                if keep:
                    found.append(data[start:at])
                left -= 1
        self._at = at
        return tuple(found) if keep else None

    def _alignment(self, values: dict[str, Value]) -> int:
        alignment = values.get("general.alignment", 32)
        # ggml's CPU backend aborts on data that is not aligned to 32 bytes
        if type(alignment) is not int or alignment % 32 or not 32 <= alignment <= 1 << 20:
            self._fail("has an alignment that is not a multiple of 32 bytes")
        if alignment & (alignment - 1):
            self._fail(f"has an alignment of {alignment}, which is no power of two")
        return alignment

    def _tensors(self, count: int, alignment: int) -> dict[str, Tensor]:
        tensors: dict[str, Tensor] = {}
        expected = 0
        for _ in range(count):
            tensor, offset = self._tensor()
            if tensor.name in tensors:
                self._fail(f"has the tensor {shown(tensor.name)} twice")
            if offset != expected:
                self._fail(
                    f"has the tensor {shown(tensor.name)} at offset {offset}, not {expected}"
                )
            tensors[tensor.name] = tensor
            last = expected + tensor.bytes
            expected = -(-last // alignment) * alignment
        if count:
            start = -(-self._at // alignment) * alignment
            if start + last > self._size:
                self._fail(
                    f"ends after {self._size} bytes, but its tensors need {start + last}",
                    hint="the download may have been cut off",
                )
            tensors = {
                name: replace(tensor, start=start + tensor.start)
                for name, tensor in tensors.items()
            }
        return tensors

    def _tensor(self) -> tuple[Tensor, int]:
        name = self._string(MAX_NAME, "a tensor name")
        if not name.isprintable():
            self._fail(f"has a tensor named {shown(name)}")
        dimensions = self._number(_U32)
        if not 1 <= dimensions <= MAX_DIMENSIONS:
            self._fail(f"has {dimensions} dimensions in the tensor {shown(name)}")
        shape = struct.unpack(f"<{dimensions}Q", self._take(8 * dimensions))
        elements = math.prod(shape)
        if not 0 < elements < MAX_SIZE:
            self._fail(f"has a tensor {shown(name)} of shape {list(shape)}")
        number = self._number(_U32)
        kind = TENSOR_TYPES.get(number)
        if kind is None:
            self._fail(f"has a tensor {shown(name)} of unsupported type {number}")
        label, block, block_bytes = kind
        if shape[0] % block:
            self._fail(f"has a {label} tensor {shown(name)} with rows of {shape[0]} elements")
        offset = self._number(_U64)
        size = elements // block * block_bytes
        return Tensor(name, shape, label, elements, size, self._path, offset), offset

    def _string(self, limit: int, what: str) -> str:
        length = self._number(_U64)
        if length > limit or length > self._left():
            self._fail(f"has {what} of {length} bytes")
        raw = self._take(length)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            self._fail(f"has {what} that is not UTF-8: {shown(raw)}")

    def _number(self, layout: struct.Struct) -> int:
        value: int = layout.unpack(self._take(layout.size))[0]
        return value

    def _take(self, count: int) -> bytes:
        start, end = self._at, self._at + count
        data = self._data if end <= len(self._data) else self._grow(end)
        self._at = end
        return data[start:end]

    def _left(self) -> int:
        return self._size - self._at

    def _grow(self, end: int) -> bytes:
        """Widen the window to at least `end` bytes."""
        if end > self._size:
            self._fail(
                "ends in the middle of its header", hint="the download may have been cut off"
            )
        if end > MAX_METADATA:
            self._fail(f"has a header of more than {MAX_METADATA >> 20} MiB")
        have = len(self._data)
        target = min(self._size, max(end, 2 * have, 1 << 16))
        parts = [self._data]
        while have < target:
            part = self._file.read(target - have)
            if not part:
                self._fail("became shorter while it was read")
            parts.append(part)
            have += len(part)
        self._data = b"".join(parts)
        return self._data

    def _fail(self, what: str, hint: str | None = None) -> NoReturn:
        raise ModelFileError(f"{self._path} {what}", hint=hint)
