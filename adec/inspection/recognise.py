"""What `adec inspect` was given: a trace, a profile, a model, a pair, `config` or `env`."""

from __future__ import annotations

import difflib
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from adec.engines.remote import is_remote
from adec.errors import ModelFileError, UsageError
from adec.models.names import PRACTICE, locate
from adec.places import typed_path
from adec.profiles.find import available, find_profile
from adec.profiles.schema import Profile

Word = Literal["models", "config", "env", "remembered"]
WORDS: tuple[Word, ...] = ("models", "config", "env", "remembered")

STDIN = "-"
_SNIFFED = 64
"""Bytes at the start of a file that are read to recognise it."""
_BLANK = b" \t\r\n"
_BENCH = {
    b'{"type":"bench"': "the same adec bench command, with --samples, goes on from it",
    b'{"schema":1,"about"': "read it with a program, or run the bench with --html",
}
"""How files of `adec bench` begin, apart from whitespace, and what to do with them."""


@dataclass(frozen=True)
class Trace:
    """A trace in a file, or on standard input if the path is None."""

    path: Path | None


@dataclass(frozen=True)
class Model:
    """A model, named as for `models.names.locate`."""

    name: str


@dataclass(frozen=True)
class Pair:
    """Two models, and the profile that names them, if any."""

    small: str
    large: str
    profile: Profile | None = None


@dataclass(frozen=True)
class Distant:
    """A model behind an address, and the small model beside it, if any."""

    address: str
    small: str | None = None


Thing = Distant | Trace | Profile | Model | Pair | Word


def recognise(
    names: tuple[str, ...],
    *,
    pair: str | None = None,
    small: str | None = None,
    large: str | None = None,
) -> Thing:
    """Find out what the arguments mean. Of a file only the first bytes are read.

    Raises UsageError for nothing, too much or an unknown name, ProfileError for a profile that
    cannot be read.
    """
    options = pair is not None or small is not None or large is not None
    if pair is not None and (small is not None or large is not None):
        raise UsageError("--pair and --small with --large exclude each other")
    if names and options and names != ("config",):
        raise UsageError(
            "a thing to look at and --pair, --small or --large were both given",
            hint="give one of them",
        )
    if names == ("config",):
        return "config"
    if options:
        if large is not None and is_remote(large):
            return Distant(large, small)
        return _pair_of_options(pair, small, large)
    if not names:
        raise UsageError(
            "there is nothing to look at",
            hint="for example: adec inspect run.jsonl, practice:large or env",
        )
    if is_remote(names[-1]) and len(names) <= 2:
        return Distant(names[-1], names[0] if len(names) == 2 else None)
    if len(names) == 2:
        return Pair(*names)
    if len(names) > 2:
        raise UsageError(f"{len(names)} things were given", hint="one, or the two models of a pair")
    return _one(names[0])


def _pair_of_options(pair: str | None, small: str | None, large: str | None) -> Pair:
    if pair is None:
        if small is None or large is None:
            missing = "--large" if small else "--small"
            raise UsageError(
                f"{missing} is missing: a pair is two models",
                hint="or look at one model: adec inspect MODEL",
            )
        return Pair(small, large)
    profile = find_profile(pair)
    small, large = profile.model_path("small"), profile.model_path("large")
    if small is None or large is None:
        raise UsageError(
            f"profile {profile.name} names no pair of models", hint="give --small and --large"
        )
    return Pair(small, large, profile)


def _one(name: str) -> Thing:
    for word in WORDS:
        if name == word:
            return word
    if name == STDIN:
        return Trace(None)
    if name.startswith(PRACTICE):
        return Model(name)
    path = typed_path(name)
    try:
        found = path.stat()
    except (OSError, ValueError):
        return _absent(name)
    if stat.S_ISDIR(found.st_mode):
        if not (path / "config.json").is_file() and name in available():
            return find_profile(name)
        return Model(name)
    if stat.S_ISFIFO(found.st_mode):
        return Trace(path)
    if not stat.S_ISREG(found.st_mode):
        raise UsageError(f"{name} is neither a file nor a folder")
    return _file(name, path)


def _file(name: str, path: Path) -> Thing:
    """By the first bytes; the ending decides only if they say nothing."""
    try:
        with path.open("rb") as file:
            start = file.read(_SNIFFED)
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror}") from error
    if start.startswith(b"GGUF"):
        return Model(name)
    for beginning, hint in _BENCH.items():
        if b"".join(start.split()).startswith(beginning):
            raise UsageError(f"{name} was written by adec bench: there is no run in it", hint=hint)
    ending = path.suffix.lower()
    if ending == ".toml":
        return find_profile(str(path))
    if start.lstrip(_BLANK).startswith(b"{") and ending not in (".gguf", ".safetensors"):
        return Trace(path)
    if ending == ".gguf":
        return Model(name)
    if ending == ".safetensors" or ending in (".bin", ".pt", ".pth"):
        raise UsageError(
            f"{name} is a file of weights without its config",
            hint=f"give the model's folder: adec inspect {path.parent}",
        )
    if ending in (".jsonl", ".json"):
        return Trace(path)
    raise UsageError(
        f"{name} is neither a trace nor a profile nor a model",
        hint="traces begin with {, profiles end in .toml, models are GGUF files or folders",
    )


def _absent(name: str) -> Thing:
    known = available()
    if name in known or name.endswith(".toml"):
        return find_profile(name)
    try:
        locate(name)
    except ModelFileError as error:
        if "could be any of" in error.message:
            raise
    else:
        return Model(name)
    if "/" in name or "\\" in name or Path(name).suffix:
        raise UsageError(f"{name} does not exist")
    near = difflib.get_close_matches(name, [*known, *WORDS], n=1)
    hint = (
        f"did you mean {near[0]}?"
        if near
        else f"profiles are {', '.join(known) or 'none'}; words are {', '.join(WORDS)}"
    )
    raise UsageError(f"there is no file, folder or profile {name!r}", hint=hint)
