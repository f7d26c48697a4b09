"""Files that `adec inspect` writes."""

from __future__ import annotations

from pathlib import Path

from adec.errors import UsageError
from adec.whole_file import whole_file


def write_whole(path: Path, text: str) -> None:
    """Put `text` in place of what `path` held before, or leave that as it was. Raises UsageError."""
    try:
        with whole_file(path) as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error
