"""Where adec keeps what is the user's, and where it finds what it ships."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal


def user_profiles() -> Path:
    """Folder of the user's own profiles. ADEC_HOME moves this and all else that adec keeps."""
    home = os.environ.get("ADEC_HOME")
    if home:
        return Path(home).expanduser() / "profiles"
    from platformdirs import user_data_path

    return user_data_path("adec", appauthor=False) / "profiles"


def user_config() -> Path:
    """The user's own defaults of options."""
    home = os.environ.get("ADEC_HOME")
    if home:
        return Path(home).expanduser() / "config.toml"
    from platformdirs import user_config_path

    return Path(user_config_path("adec", appauthor=False)) / "config.toml"


def kept_folder(what: Literal["cost", "history", "calibration", "bench"]) -> Path:
    """A folder of adec's own. A history is the user's data; the others are made again when lost."""
    home = os.environ.get("ADEC_HOME")
    if home:
        return Path(home).expanduser() / what
    from platformdirs import user_cache_path, user_data_path

    root = user_data_path if what == "history" else user_cache_path
    return Path(root("adec", appauthor=False)) / what


def shipped_profiles() -> Path:
    """Folder of the profiles that come with adec."""
    package = Path(__file__).parent
    installed = package / "_profiles"
    return installed if installed.is_dir() else package.parent / "profiles"


def profile_folders() -> tuple[Path, ...]:
    """Folders that `--pair NAME` looks into, the user's first."""
    return user_profiles(), shipped_profiles()
