"""The key of a server: from the environment or from a file, never from the command line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from adec.errors import UsageError
from adec.places import typed_path

KEY = "ADEC_API_KEY"
KEY_FILE = "ADEC_KEY_FILE"
"""Names the file of the key; the option --key-file sets it, so that worker processes know it."""
LONGEST = 4096


def read_key(environment: Mapping[str, str] = os.environ) -> str | None:
    """The key, or None if there is none; a file wins. Raises UsageError."""
    path = environment.get(KEY_FILE)
    where = path if path else KEY
    text = _from_file(typed_path(path)) if path else environment.get(KEY, "")
    key = text.strip()
    if not key:
        if path:
            raise UsageError(f"{path} holds no key")
        return None
    if len(key) > LONGEST or not all("!" <= char <= "~" for char in key):
        raise UsageError(f"what {where} holds is no key: it has blanks or other odd characters")
    return key


def _from_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(LONGEST + 2).decode("utf-8", "replace")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
