"""JSON from files that somebody else wrote: limited in size, and an error of one line when broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from adec.errors import ModelFileError


def read_json(path: Path, limit: int) -> dict[str, Any]:
    """The object in a JSON file of at most `limit` bytes. Raises ModelFileError."""
    return parse_json(read_bounded(path, limit), path)


def read_bounded(path: Path, limit: int) -> bytes:
    """The bytes of a file of at most `limit` bytes. Raises ModelFileError."""
    try:
        # a pipe or a device has no size and would be read without end
        if not path.is_file():
            raise ModelFileError(f"{path} is not a file")
        with path.open("rb") as file:
            raw = file.read(limit + 1)
    except (OSError, ValueError) as error:
        raise ModelFileError(f"cannot read {path}: {error}") from error
    if len(raw) > limit:
        raise ModelFileError(f"{path} is larger than {limit >> 20} MiB")
    return raw


def parse_json(raw: bytes, path: Path) -> dict[str, Any]:
    """The object in `raw`; `path` is for the message. Raises ModelFileError."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError, MemoryError) as error:
        # RecursionError: a nesting bomb; ValueError: also numbers of thousands of digits, and bad UTF-8
        raise ModelFileError(f"{path} is not valid JSON: {str(error)[:120]}") from error
    if not isinstance(value, dict):
        raise ModelFileError(f"{path} does not hold a JSON object")
    return value
