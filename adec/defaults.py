"""Defaults of options from the environment and TOML files.

In order of precedence: flag, ADEC_*, ./adec.toml, the user's config.toml, profile.

    # adec.toml
    pair = "practice"
    threads = 2
    set = ["ead.up=0.3"]

A key is the long name of an option, in the environment ADEC_ and the name in capitals. Only options
in `KEYS` can be set: a file in the current folder must not decide where output goes.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adec.errors import UsageError
from adec.places import user_config
from adec.toml_file import read_toml

KEYS = (
    "pair", "small", "large", "model", "strategy", "set", "keep", "exactness",
    "max-tokens",
    "temp", "top-k", "top-p", "min-p", "seed",
    "ctx", "threads", "batch-threads", "gpu-layers", "rpc", "mmap", "engine", "device", "dtype",
    "color", "quiet",
)  # fmt: skip
LISTS = ("set",)
FILE_NAME = "adec.toml"
FILE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Setting:
    """A value, and the variable or file that it comes from."""

    key: str
    value: Any
    origin: str


def settings(environment: Mapping[str, str] = os.environ) -> dict[str, Setting]:
    """Every key that is set, with the value that wins. Raises UsageError for a bad file or key."""
    found: dict[str, Setting] = {}
    for path in (user_config(), Path(FILE_NAME)):
        found |= _from_file(path)
    for key in KEYS:
        name = "ADEC_" + key.upper().replace("-", "_")
        if environment.get(name):
            text = environment[name]
            found[key] = Setting(key, text.split() if key in LISTS else text, name)
    return found


def _from_file(path: Path) -> dict[str, Setting]:
    try:
        table = read_toml(path, FILE_BYTES, UsageError)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    for key in table:
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(KEYS)}"
            raise UsageError(f"{path}: there is no setting {key[:80]!r}", hint=hint)
        if not _fits(key, table[key]):
            wanted = "a list of texts" if key in LISTS else "one value"
            raise UsageError(f"{path}: {key} must be {wanted}")
    return {key: Setting(key, value, str(path)) for key, value in table.items()}


def _fits(key: str, value: Any) -> bool:
    if key in LISTS:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return not isinstance(value, dict | list)
