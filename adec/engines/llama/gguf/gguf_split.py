"""A model in one GGUF file, or in several parts as llama-gguf-split writes them."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from adec.engines.llama.gguf.gguf_reader import MAX_TENSORS, KnownStrings, read_gguf
from adec.engines.llama.gguf.gguf_values import GgufFile, shown

MAX_PARTS = 512
_PART = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf", re.DOTALL)


def part_paths(path: Path) -> list[Path]:
    """Where the parts of a model lie, by the name of its first; `path` alone if it is no part."""
    name = _PART.fullmatch(path.name)
    if name is None or int(name[2]) != 1 or int(name[3]) > MAX_PARTS:
        return [path]
    return [
        path.with_name(f"{name[1]}-{number:05d}-of-{name[3]}.gguf")
        for number in range(1, int(name[3]) + 1)
    ]


def read_model(
    path: Path, *, keep: Collection[str] = (), known: KnownStrings | None = None
) -> GgufFile:
    """Read the container at `path`; see `read_gguf`.

    The first part of a split model gives the whole model: its own key-value pairs, and the tensors
    of all parts, which llama.cpp finds beside it by their names. Raises ModelFileError when a part
    is missing or does not belong to the others.
    """
    first = read_gguf(path, keep=keep, known=known)
    count = first.integer("split.count")
    if count is None or count <= 1:
        return first
    name = _PART.fullmatch(path.name)
    number = (first.integer("split.no") or 0) + 1
    if name is None or (int(name[2]), int(name[3])) != (number, count):
        wanted = f"{'…' if name is None else name[1]}-{number:05d}-of-{count:05d}.gguf"
        first.fail(
            f"is one of {count} parts of a model and not called {shown(wanted)}",
            "give it its own name again, or join the parts with llama-gguf-split --merge",
        )
    if number != 1:
        first.fail(
            f"is part {number} of {count} of a model",
            f"give the first part, {name[1]}-00001-of-{count:05d}.gguf",
        )
    if count > MAX_PARTS:
        first.fail(f"has {count} parts, {MAX_PARTS} at most can be read")
    size, tensors = first.size, dict(first.tensors)
    for index, beside in enumerate(part_paths(path)[1:], 1):
        if not beside.exists():
            first.fail(
                f"is one of {count} parts, and {beside.name} is missing",
                "download all parts into one folder",
            )
        part = read_gguf(beside)
        if (part.integer("split.no"), part.integer("split.count")) != (index, count):
            part.fail(f"is not part {index + 1} of {count} of {first.path.name}")
        twice = tensors.keys() & part.tensors.keys()
        if twice:
            part.fail(f"repeats the tensor {shown(min(twice))} of another part")
        size += part.size
        tensors |= part.tensors
        if len(tensors) > MAX_TENSORS:
            first.fail(f"has more than {MAX_TENSORS} tensors in its parts")
    declared = first.integer("split.tensors.count")
    if declared is not None and declared != len(tensors):
        first.fail(f"declares {declared} tensors, its parts hold {len(tensors)}")
    values = {key: value for key, value in first.values.items() if not key.startswith("split.")}
    return replace(first, size=size, values=values, tensors=tensors)
