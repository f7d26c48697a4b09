"""Finds a profile: by its name, by a path, or as the one that was made for given model files."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

from adec.engines.base import ModelHeader
from adec.engines.remote.remote_header import RemoteHeader
from adec.errors import AdecError, ProfileError
from adec.events.records import Role
from adec.machine import file_fingerprint
from adec.places import profile_folders, typed_path, user_profiles
from adec.profiles.read import read_profile
from adec.profiles.schema import Profile


def fitting_profile(models: Mapping[Role, ModelHeader]) -> Profile | None:
    """The user's own profile that was made for exactly these model files, or for such a small one
    and the model at that address; None if there is none."""
    folder = user_profiles()
    if not folder.is_dir() or models["large"].info.format == "table":
        return None
    large = models["large"]
    address = large.called if isinstance(large, RemoteHeader) else None
    wanted = {
        role: file_fingerprint(header.info.path)
        for role, header in models.items()
        if not isinstance(header, RemoteHeader)
    }
    for path in sorted(folder.glob("*.toml")):
        try:
            profile = read_profile(path)
        except AdecError:
            continue  # a broken profile of other models is no reason to stop
        made = {role: made.fingerprint for role, made in profile.made.items() if made.fingerprint}
        if made == wanted and (address is None or profile.models.get("large") == address):
            return profile
    return None


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
        return read_profile(typed_path(name))
    known = available()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known) or 'none'}"
        raise ProfileError(f"there is no profile {name!r}", hint=hint)
    return read_profile(known[name])
