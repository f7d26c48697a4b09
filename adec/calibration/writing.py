"""TOML with a comment on each key, written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import tomlkit

from adec.errors import ProfileError

Line = tuple[str, Any, str]
"""Key, value, comment; a value of None is left out."""


def write_profile(path: Path, text: str) -> None:
    """Write it whole or not at all. Raises ProfileError when the folder cannot be written."""
    fresh: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, fresh = tempfile.mkstemp(prefix=f".{path.stem}.", dir=path.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        # a temporary file is for its owner only; a profile is as readable as any other file
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(fresh, 0o666 & ~mask)
        os.replace(fresh, path)
    except BaseException as error:
        if fresh is not None:
            with suppress(OSError):
                os.unlink(fresh)
        if isinstance(error, OSError):
            raise _unwritable(path, error) from error
        raise


def check_writable(path: Path) -> None:
    """Raise ProfileError when `path` could not be written: better before minutes of measuring than after."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
        if path.is_dir():
            raise IsADirectoryError(21, "is a folder")
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> ProfileError:
    reason = (error.strerror or str(error)).lower()
    return ProfileError(
        f"the profile {path} cannot be written: {reason}",
        hint="-o FILE.toml puts it elsewhere; ADEC_HOME moves the folder of all profiles",
    )


def table(name: str | None, lines: Iterable[Line], *, listed: bool = False) -> str:
    """One table; `listed` makes it an item of an array of tables."""
    head = "" if name is None else f"[[{name}]]\n" if listed else f"[{name}]\n"
    body = ""
    for key, value, comment in lines:
        if value is not None:
            written = f"{tomlkit.key(key).as_string()} = {_value(value)}"
            body += f"{written}  # {comment}\n" if comment else f"{written}\n"
    return head + body if body else ""


def _value(value: Any) -> str:
    if isinstance(value, float):
        value = float(f"{value:.6g}")
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return str(tomlkit.item(value).as_string())
