"""The files of a model folder, all untrusted: bounded JSON, and headers of safetensors files.

A header holds names, types and shapes. No weight is read here.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adec.engines.stand_in import refuse_stand_in
from adec.errors import ModelFileError
from adec.whole_file import read_bounded

HEADER_LIMIT = 32 << 20
"""The format allows 100 MB, which would take more than a gigabyte when parsed."""
INDEX_LIMIT = 64 << 20
SHARDS_LIMIT = 1024

BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16,
    "I64": 64, "I32": 32, "I16": 16, "I8": 8,
    "U64": 64, "U32": 32, "U16": 16, "U8": 8, "BOOL": 8,
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
}  # fmt: skip


def read_json(path: Path, limit: int) -> dict[str, Any]:
    """The object in a JSON file of at most `limit` bytes. Raises ModelFileError."""
    return parse_json(read_bounded(path, limit), path)


def parse_json(raw: bytes, path: Path) -> dict[str, Any]:
    """The object in `raw`, which came from `path`. Raises ModelFileError."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError, MemoryError) as error:
        refuse_stand_in(path, raw[:64])
        # RecursionError: a nesting bomb; ValueError: also numbers of many digits, and bad UTF-8
        raise ModelFileError(f"{path} is not valid JSON: {str(error)[:120]}") from error
    if not isinstance(value, dict):
        raise ModelFileError(f"{path} does not hold a JSON object")
    return value


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """The type, as safetensors names it, and the shape of a tensor."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """Number of elements."""
        product = 1
        for size in self.shape:
            product *= size
        return product

    @property
    def bytes(self) -> int:
        return self.count * BITS[self.dtype] // 8


def read_shard(path: Path) -> dict[str, TensorEntry]:
    """The tensors of one file, by name. Raises ModelFileError.

    Every count and offset is checked against the size of the file. Tensors must fill the data
    section without gap or overlap.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(64)
            prefix = head[:8]
            if len(prefix) < 8:
                raise ModelFileError(f"{path} is too short for a safetensors file")
            (length,) = struct.unpack("<Q", prefix)
            if length > min(HEADER_LIMIT, size - 8):
                refuse_stand_in(path, head)
                raise ModelFileError(f"{path} has a header of {length} bytes in a file of {size}")
            file.seek(8)
            raw = file.read(length)
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror or error}") from error
    header = parse_json(raw, path)
    header.pop("__metadata__", None)
    entries: dict[str, TensorEntry] = {}
    spans: list[tuple[int, int]] = []
    for name, fields in header.items():
        entry, span = _entry(path, name, fields)
        entries[name] = entry
        spans.append(span)
    end = 0
    for start, stop in sorted(spans):
        if start != end:
            raise ModelFileError(f"{path} has a gap or an overlap at byte {min(start, end)}")
        end = stop
    if end != size - 8 - length:
        raise ModelFileError(
            f"{path} holds {size - 8 - length} bytes of data, its header says {end}"
        )
    return entries


def _entry(path: Path, name: str, fields: Any) -> tuple[TensorEntry, tuple[int, int]]:
    match fields:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [start, stop]}:
            pass
        case _:
            raise ModelFileError(f"{path} has a broken entry for {name[:80]!r}")
    if dtype not in BITS:
        raise ModelFileError(f"{path} has a tensor {name[:80]!r} of unknown type {dtype[:20]!r}")
    numbers = [*shape, start, stop]
    if len(shape) > 8 or any(type(n) is not int or not 0 <= n < 1 << 48 for n in numbers):
        raise ModelFileError(f"{path} has a broken shape or offset for {name[:80]!r}")
    entry = TensorEntry(dtype, tuple(shape))
    if entry.bytes != stop - start:
        raise ModelFileError(f"{path} gives {name[:80]!r} {stop - start} bytes for shape {shape}")
    return entry, (start, stop)


def find_shards(folder: Path) -> list[Path]:
    """The safetensors files of a model folder: a single one, or those that its index names.

    Raises ModelFileError when there is none, one is missing, or the index names a file outside the
    folder.
    """
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        return [single]
    if not index.is_file():
        _refuse_without_safetensors(folder)
    names = read_json(index, INDEX_LIMIT).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise ModelFileError(f"{index} has no weight_map")
    shards: list[Path] = []
    for name in sorted({n if isinstance(n, str) else "" for n in names.values()}):
        if not name.endswith(".safetensors") or any(
            mark in name for mark in ("/", "\\", "..", "\0")
        ):
            raise ModelFileError(f"{index} names {name[:80]!r}, which is no file of this folder")
        if not (folder / name).is_file():
            raise ModelFileError(
                f"{folder} lacks {name[:80]!r}", hint="download the folder again, all of it"
            )
        shards.append(folder / name)
    if len(shards) > SHARDS_LIMIT:
        raise ModelFileError(f"{index} names {len(shards)} files")
    return shards


def _refuse_without_safetensors(folder: Path) -> None:
    pickles = [
        child.name
        for pattern in ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")
        for child in folder.glob(pattern)
    ]
    if pickles:
        # opening a pickle can run code
        raise ModelFileError(
            f"{folder} has its weights as {pickles[0][:80]!r}, a pickle, which could run code",
            hint="take its safetensors files, or convert it with save_pretrained in a sandbox",
        )
    raise ModelFileError(
        f"{folder} has no model.safetensors", hint="give a GGUF file or a Hugging Face model folder"
    )


def read_tensors(folder: Path) -> tuple[dict[str, TensorEntry], int]:
    """All tensors of a model folder, and the bytes of its files. Raises ModelFileError."""
    tensors: dict[str, TensorEntry] = {}
    size = 0
    for shard in find_shards(folder):
        entries = read_shard(shard)
        twice = tensors.keys() & entries.keys()
        if twice:
            raise ModelFileError(f"{shard} repeats the tensor {min(twice)[:80]!r}")
        tensors.update(entries)
        size += shard.stat().st_size
    if not tensors:
        raise ModelFileError(f"{folder} holds no tensors")
    return tensors, size
