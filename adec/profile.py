"""Profiles: thresholds and machine costs of a pair as TOML. Data only; a profile names models and numbers.

    schema = 1
    name = "practice"
    recommended = "ead"
    [pair]
    small = "practice:small"
    large = "practice:large"
    vocabulary = "0123456789abcdef"
    [ead]
    up = 0.3

Model paths are taken relative to the profile's folder. One table a strategy holds its settings.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adec.decoding.registry import METHODS
from adec.engines.base import ModelHeader
from adec.errors import ProfileError
from adec.places import profile_folders

SCHEMA = 1
FILE_BYTES = 1024 * 1024
"""Largest profile that is read."""

_KEYS = {"schema": int, "name": str, "about": str, "recommended": str}
_PAIR_KEYS = {"small": str, "large": str, "model": str, "vocabulary": str}
_TABLES = ("pair", "machine", "cost", "signals", "budget", "history")


@dataclass(frozen=True)
class Profile:
    """A profile as read. `settings` has one table a strategy, still unchecked against the strategy's bounds."""

    name: str
    path: Path
    about: str = ""
    recommended: str | None = None
    small: str | None = None
    large: str | None = None
    vocabulary: str | None = None
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)

    def model_path(self, named: str) -> str:
        """A model of this profile as `opening.locate` wants it: relative paths start at the profile's folder."""
        if named.startswith("practice:"):
            return named
        return str(self.path.parent / Path(named).expanduser())

    def check(self, header: ModelHeader) -> None:
        """Raise ProfileError when the profile was made for another vocabulary."""
        found = header.vocabulary.fingerprint
        if self.vocabulary is not None and self.vocabulary != found:
            raise ProfileError(
                f"profile {self.name} was made for another vocabulary: pair.vocabulary is {self.vocabulary}, that of {header.info.name} is {found}",
                hint="its thresholds would mean nothing here; leave --pair out, or calibrate anew",
            )


def available() -> dict[str, Path]:
    """Names and paths of the profiles that `--pair` knows; a user's own hide shipped ones."""
    found: dict[str, Path] = {}
    for folder in profile_folders():
        if folder.is_dir():
            for path in sorted(folder.glob("*.toml")):
                found.setdefault(path.stem, path)
    return found


def find_profile(name: str) -> Profile:
    """The profile of a name, or at a path that ends in .toml. Raises ProfileError."""
    if name.endswith(".toml"):
        return read_profile(Path(name).expanduser())
    known = available()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known) or 'none'}"
        raise ProfileError(f"there is no profile {name!r}", hint=hint)
    return read_profile(known[name])


def read_profile(path: Path) -> Profile:
    """Read and check one profile. Raises ProfileError with the key that is wrong."""
    import tomli

    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES + 1)
        if len(data) > FILE_BYTES:
            raise ProfileError(f"{path} is larger than a profile may be ({FILE_BYTES:,} bytes)")
        table = tomli.loads(data.decode("utf-8"))
    except OSError as error:
        raise ProfileError(f"profile {path} cannot be read: {error.strerror}") from error
    except (tomli.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:160]
        raise ProfileError(f"profile {path} is not TOML: {reason}") from None
    return _profile(path, table)


def _profile(path: Path, table: dict[str, Any]) -> Profile:
    if table.get("schema") != SCHEMA:
        raise ProfileError(
            f"profile {path} has schema {table.get('schema')!r}, this adec reads {SCHEMA}",
            hint="update adec, or calibrate anew",
        )
    _check_keys(path, table, _KEYS, (*_TABLES, *METHODS), "")
    pair = table.get("pair", {})
    _check_keys(path, pair, _PAIR_KEYS, (), "pair.")
    large = pair.get("large", pair.get("model"))
    return Profile(
        name=table.get("name", path.stem),
        path=path,
        about=table.get("about", ""),
        recommended=table.get("recommended"),
        small=pair.get("small"),
        large=large,
        vocabulary=pair.get("vocabulary"),
        settings={name: table[name] for name in METHODS if name in table},
    )


def _check_keys(
    path: Path,
    table: Mapping[str, Any],
    known: Mapping[str, type],
    tables: tuple[str, ...],
    prefix: str,
) -> None:
    for key, value in table.items():
        if key in tables:
            if not isinstance(value, dict):
                raise ProfileError(f"profile {path}: {prefix}{key} is not a table")
        elif key not in known:
            near = difflib.get_close_matches(key, [*known, *tables], n=1)
            hint = f"did you mean {prefix}{near[0]}?" if near else None
            raise ProfileError(f"profile {path}: unknown key {prefix}{key}", hint=hint)
        elif not isinstance(value, known[key]) or isinstance(value, bool):
            raise ProfileError(
                f"profile {path}: {prefix}{key} is {value!r}, not {known[key].__name__}"
            )
