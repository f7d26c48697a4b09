"""The folders of the user's files and of what adec ships."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal


def user_profiles() -> Path:
    """The user's own profiles."""
    return _folder("data") / "profiles"


def user_parts() -> Path:
    """The parts that were learned for the user's models."""
    return _folder("data") / "parts"


def user_config() -> Path:
    """The file with the user's own defaults of options."""
    return _folder("config") / "config.toml"


def kept_folder(
    what: Literal[
        "cost",
        "remembered",
        "calibration",
        "bench",
        "listing",
        "exactness",
        "number_format",
        "few_rows",
    ],
) -> Path:
    """A folder that adec writes. Remembered answers are the user's data; the others are caches."""
    return _folder("data" if what == "remembered" else "cache") / what


def typed_path(name: str) -> Path:
    """The path that a word means: "~" is the user's folder; a "~name" that nobody has stays."""
    try:
        return Path(os.path.expanduser(name))
    except ValueError:  # with a NUL, which no file has either
        return Path(name)


def _folder(kind: Literal["data", "config", "cache"]) -> Path:
    """Where the system keeps such files of a program; ADEC_HOME replaces all of them."""
    home = os.environ.get("ADEC_HOME")
    if home:
        return typed_path(home)
    import platformdirs

    find = {
        "data": platformdirs.user_data_path,
        "config": platformdirs.user_config_path,
        "cache": platformdirs.user_cache_path,
    }
    return Path(find[kind]("adec", appauthor=False))


def shipped_profiles() -> Path:
    """The profiles that come with adec."""
    package = Path(__file__).parent
    installed = package / "_profiles"
    return installed if installed.is_dir() else package.parent / "profiles"


def profile_folders() -> tuple[Path, ...]:
    """The folders in which `--pair NAME` looks, the user's first."""
    return user_profiles(), shipped_profiles()
