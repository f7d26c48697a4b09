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

Model paths are taken relative to the profile's folder. One table a strategy holds its settings. `adec calibrate` adds [machine],
[cost], [signals], [budget], [choice], [[front]] and [history]; of these [cost], [budget] and [choice] are obeyed, the others are
for people and for `stale`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adec.decoding.registry import METHODS
from adec.engines.base import ModelHeader
from adec.errors import AdecError, ProfileError
from adec.events.records import Role
from adec.machine import file_fingerprint, this_machine
from adec.places import profile_folders, user_profiles
from adec.profiles.schema import (
    Budget,
    Costs,
    Recommendation,
    Wrong,
    budget_of,
    costs_of,
    recommendation_of,
    shown,
    thresholds_of,
)
from adec.toml_file import read_toml

SCHEMA = 1
FILE_BYTES = 1024 * 1024
"""Largest profile that is read."""

_KEYS = {"schema": int, "name": str, "about": str, "recommended": str}
_PAIR_KEYS = {
    "small": str,
    "large": str,
    "model": str,
    "vocabulary": str,
    **{
        f"{role}_{what}": kind
        for role in ("small", "large")
        for what, kind in (("fingerprint", str), ("quantisation", str), ("bytes", int))
    },
}
_MACHINE_KEYS = {
    "system": str,
    "processor": str,
    "cores": int,
    "threads": int,
    "batch_threads": int,
    "adec": str,
    "backend": str,
    "load": float,
}
_TABLES = ("pair", "machine", "cost", "signals", "budget", "choice", "history")
_LISTS = ("front",)
FRONT = 512
"""Points of a front that are read."""


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
    pair: dict[str, Any] = field(default_factory=dict)
    """What the models were when it was made: fingerprints, quantisations, bytes."""
    machine: dict[str, Any] = field(default_factory=dict)
    thresholds: dict[str, float] = field(default_factory=dict)
    """Of adadec, by the role of the model that writes."""
    costs: Costs | None = None
    budget: Budget | None = None
    choice: Recommendation | None = None

    def settings_of(self, strategy: str, assigned: Mapping[str, Any]) -> dict[str, Any]:
        """What the profile sets for a strategy, where `assigned` decides which model of the pair writes."""
        known = self.settings.get(strategy, {})
        model = assigned.get("model", known.get("model", "large"))
        if strategy == "adadec" and model in self.thresholds:
            return {"threshold": self.thresholds[model], **known}
        return known

    def model_path(self, named: str) -> str:
        """A model of this profile as `answering.models.locate` wants it: relative paths start at the profile's folder."""
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

    def other_models(self, models: Mapping[Role, ModelHeader]) -> list[str]:
        """Where the model files are not those that were calibrated, in words that name the key; thresholds and proof are then void."""
        found = []
        for role, header in models.items():
            if header.info.format == "table":
                continue
            facts: dict[str, Any] = {
                "quantisation": header.info.quantisation,
                "bytes": header.info.bytes,
            }
            key = f"{role}_fingerprint"
            if key in self.pair:
                facts["fingerprint"] = file_fingerprint(header.info.path)
            found += [
                f"pair.{role}_{name} is {self.pair[f'{role}_{name}']}, the file's is {value}"
                for name, value in facts.items()
                if self.pair.get(f"{role}_{name}", value) != value
            ]
        return found

    def other_machine(self, large: ModelHeader) -> list[str]:
        """Where this machine is not the one that was measured, likewise; times are then void."""
        here = this_machine(large.info.format)
        return [
            f"machine.{name} is {self.machine[name]}, here it is {getattr(here, name)}"
            for name in ("system", "processor", "cores", "backend")
            if self.machine.get(name, getattr(here, name)) != getattr(here, name)
        ]


def fitting_profile(models: Mapping[Role, ModelHeader]) -> Profile | None:
    """The user's own profile that was made for exactly these model files; None when there is none."""
    folder = user_profiles()
    if not folder.is_dir() or models["large"].info.format == "table":
        return None
    wanted = {role: file_fingerprint(header.info.path) for role, header in models.items()}
    for path in sorted(folder.glob("*.toml")):
        try:
            profile = read_profile(path)
        except AdecError:
            continue  # a broken profile of another pair is no reason to stop
        known = {role: profile.pair.get(f"{role}_fingerprint") for role in ("large", "small")}
        if {role: value for role, value in known.items() if value is not None} == wanted:
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
        return read_profile(Path(name).expanduser())
    known = available()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known) or 'none'}"
        raise ProfileError(f"there is no profile {name!r}", hint=hint)
    return read_profile(known[name])


def read_profile(path: Path) -> Profile:
    """Read and check one profile. Raises ProfileError with the key that is wrong."""
    try:
        table = read_toml(path, FILE_BYTES, ProfileError)
    except OSError as error:
        raise ProfileError(f"profile {path} cannot be read: {error.strerror}") from error
    return _profile(path, table)


def _profile(path: Path, table: dict[str, Any]) -> Profile:
    if table.get("schema") != SCHEMA:
        raise ProfileError(
            f"profile {path} has schema {table.get('schema')!r}, this adec reads {SCHEMA}",
            hint="update adec, or calibrate anew",
        )
    front = table.get("front", [])
    if not isinstance(front, list) or len(front) > FRONT:
        raise ProfileError(f"profile {path}: front is not a list of at most {FRONT} tables")
    rest = {key: value for key, value in table.items() if key not in _LISTS}
    _check_keys(path, rest, _KEYS, (*_TABLES, *METHODS), "")
    pair, machine = table.get("pair", {}), table.get("machine", {})
    _check_keys(path, pair, _PAIR_KEYS, (), "pair.")
    _check_keys(path, machine, _MACHINE_KEYS, (), "machine.")
    large = pair.get("large", pair.get("model"))
    try:
        costs = costs_of(table["cost"]) if "cost" in table else None
        budget = budget_of(table["budget"]) if "budget" in table else None
        choice = recommendation_of(table["choice"]) if "choice" in table else None
        thresholds, adadec = thresholds_of(table.get("adadec", {}))
    except Wrong as error:
        raise ProfileError(f"profile {path}: {error}", hint="calibrate anew") from None
    for key, name in (
        ("recommended", table.get("recommended")),
        ("choice.exact", None if choice is None else choice.exact),
        ("choice.within_budget", None if choice is None else choice.within_budget),
    ):
        if name is not None and name not in METHODS:
            near = difflib.get_close_matches(name, METHODS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(METHODS)}"
            raise ProfileError(f"profile {path}: {key} is {name!r}, no strategy", hint=hint)
    return Profile(
        name=table.get("name", path.stem),
        path=path,
        about=table.get("about", ""),
        recommended=table.get("recommended"),
        small=pair.get("small"),
        large=large,
        vocabulary=pair.get("vocabulary"),
        settings={
            name: adadec if name == "adadec" else table[name]
            for name in METHODS
            if name in table and (name != "adadec" or adadec)
        },
        thresholds=thresholds,
        pair={key: pair[key] for key in pair if "_" in key},
        machine=machine,
        costs=costs,
        budget=budget,
        choice=choice,
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
                f"profile {path}: {prefix}{key} is {shown(value)}, not {known[key].__name__}"
            )
