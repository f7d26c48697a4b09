"""TOML with a comment on each key, written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tomlkit

from adec.errors import ProfileError
from adec.whole_file import check_room, whole_file

Line = tuple[str, Any, str]
"""Key, value, comment; a value of None is left out."""


def write_profile(path: Path, text: str) -> None:
    """Write it whole or not at all. Raises ProfileError when the folder cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            file.write(text)
    except OSError as error:
        raise _unwritable(path, error) from error


def check_writable(path: Path) -> None:
    """Raise ProfileError if `path` cannot be written: better before measuring than after."""
    try:
        check_room(path.parent)
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
