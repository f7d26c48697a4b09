"""A part as a file: safetensors, with everything but the arrays as JSON in its metadata.

Whatever is read is hostile: sizes are bounded before anything is kept, types and names are checked,
and nothing in the file is run. safetensors itself checks that arrays lie within the file, without
gap or overlap.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from adec.errors import ModelFileError
from adec.parts.part import KIND, Fact, Part
from adec.whole_file import read_bounded, write_whole

LIMIT = 64 << 20
"""Bytes of a file."""
HEADER_LIMIT = 1 << 20
MOST_TENSORS = 4096
MOST_FACTS = 256
LARGEST = 1e12
"""Largest number of an array. Products of two, and sums of them, are then no overflow."""
SCHEMA = 1
_TYPES = {"F32": np.float32, "F16": np.float16}
_KEY = "adec_part"

_Word = Annotated[str, msgspec.Meta(max_length=128)]
_Text = Annotated[str, msgspec.Meta(max_length=4096)]


class _Described(msgspec.Struct, frozen=True):
    """The JSON beside the arrays. Keys are only ever added."""

    schema: int
    kind: _Word
    model: _Word
    made: _Word = ""
    facts: dict[_Word, _Text | bool | int | float] = msgspec.field(default_factory=dict)


def write_part(part: Part, path: Path) -> None:
    """Write a part whole, or leave what is there. Raises ModelFileError."""
    described = _Described(SCHEMA, part.kind, part.model, part.made, dict(part.facts))
    arrays = {name: np.ascontiguousarray(array, np.float32) for name, array in part.tensors.items()}
    raw = save(arrays, {_KEY: msgspec.json.encode(described).decode()})
    if len(raw) > LIMIT:
        raise ModelFileError(f"the part {part.kind} has {len(raw) >> 20} MiB, which is too much")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, raw)
    except OSError as error:
        raise ModelFileError(f"cannot write {path}: {error.strerror or error}") from error


def read_part(path: Path) -> Part:
    """The part in a file, its arrays as float32, none beyond LARGEST. Raises ModelFileError."""
    raw = read_bounded(path, LIMIT)
    described = _described(raw, path)
    try:
        arrays = load(raw)
    except (SafetensorError, KeyError, ValueError, TypeError, MemoryError) as error:
        raise ModelFileError(f"{path} is damaged: {str(error)[:120]}") from error
    tensors = {name: array.astype(np.float32) for name, array in arrays.items()}
    for name, array in tensors.items():
        if not (np.abs(array) <= LARGEST).all():  # nor is a NaN
            raise ModelFileError(
                f"{path} has numbers in {name[:80]!r} that are not finite, or above {LARGEST:g}"
            )
    facts: dict[str, Fact] = dict(described.facts)
    return Part(described.kind, described.model, tensors, facts, described.made)


def _described(raw: bytes, path: Path) -> _Described:
    """The JSON of a part, after a look at the names and types of its arrays."""
    if len(raw) < 8:
        raise ModelFileError(f"{path} is too short for a part")
    (length,) = struct.unpack("<Q", raw[:8])
    if length > min(HEADER_LIMIT, len(raw) - 8):
        raise ModelFileError(f"{path} has a header of {length} bytes in a file of {len(raw)}")
    try:
        header = json.loads(raw[8 : 8 + length])
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path} has a broken header: {str(error)[:120]}") from error
    metadata = header.pop("__metadata__", None) if isinstance(header, dict) else None
    text = metadata.get(_KEY) if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise ModelFileError(f"{path} is no part that adec wrote")
    if len(header) > MOST_TENSORS:
        raise ModelFileError(f"{path} holds {len(header)} arrays, too many for a part")
    for name, entry in header.items():
        kind = entry.get("dtype") if isinstance(entry, dict) else None
        if kind not in _TYPES:
            raise ModelFileError(f"{path} has {name[:80]!r} of type {str(kind)[:20]!r}")
    try:
        described = msgspec.json.decode(text.encode("utf-8", "surrogatepass"), type=_Described)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ModelFileError(f"{path} describes itself wrongly: {str(error)[:120]}") from error
    if described.schema > SCHEMA:
        raise ModelFileError(f"{path} was made by a later adec", hint="update adec")
    if not KIND.fullmatch(described.kind) or len(described.facts) > MOST_FACTS:
        raise ModelFileError(f"{path} has a broken kind, or too many facts")
    return described
