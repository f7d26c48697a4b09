"""Reads a profile. Somebody else may have written it: every key that a run obeys is checked."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from adec.decoding import settings as setting_values
from adec.decoding.registry import METHODS
from adec.errors import ProfileError, UsageError
from adec.events.records import Role
from adec.profiles.schema import (
    MOST_POINTS,
    SCHEMA,
    Budget,
    CostColumn,
    Costs,
    Made,
    MeasuredOn,
    Prices,
    Profile,
    Recommendation,
)
from adec.toml_file import read_toml

FILE_BYTES = 1024 * 1024
"""Largest profile that is read."""

_TEXTS = ("name", "about", "recommended")
_TABLES = ("pair", "machine", "cost", "signals", "budget", "choice", "prices", "history")
_PAIR = ("small", "large", "model", "vocabulary")
_ROLES: tuple[Role, ...] = ("small", "large")
_MOST_COLUMNS = 32

_TYPE = re.compile(r"\b(str|int|float|bool|array|object)\b( \| null)?")
_WORDS = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
}

T = TypeVar("T")


def read_profile(path: Path) -> Profile:
    """Read and check one profile. Raises ProfileError with the key that is wrong."""
    try:
        table = read_toml(path, FILE_BYTES, ProfileError)
    except OSError as error:
        raise ProfileError(f"profile {path} cannot be read: {error.strerror}") from error
    try:
        return _profile(path, table)
    except _Wrong as error:
        raise ProfileError(f"profile {path}: {error}", hint=error.hint) from None


class _Wrong(Exception):
    """What is wrong with which key."""

    def __init__(self, message: str, hint: str | None = "calibrate anew") -> None:
        super().__init__(message)
        self.hint = hint


def _profile(path: Path, table: dict[str, Any]) -> Profile:
    if table.get("schema") != SCHEMA:
        shown = repr(table.get("schema"))[:80]
        raise _Wrong(
            f"has schema {shown}, this adec reads {SCHEMA}", hint="update adec, or calibrate anew"
        )
    _check_names(table, ("schema", "front", *_TEXTS, *_TABLES, *METHODS), "")
    texts = {key: _convert(table.get(key), str | None, key) for key in _TEXTS}
    for key in (*_TABLES, *METHODS):
        if not isinstance(table.get(key, {}), dict):
            raise _Wrong(f"{key} is not a table")
    pair = table.get("pair", {})
    of_models = [f"{role}_{what}" for role in _ROLES for what in Made.__struct_fields__]
    _check_names(pair, (*_PAIR, *of_models), "pair.")
    named = {key: _convert(pair.get(key), str | None, f"pair.{key}") for key in _PAIR}
    _check_names(table.get("machine", {}), MeasuredOn.__struct_fields__, "machine.")
    choice = _optional(table, "choice", Recommendation)
    for key, name in (
        ("recommended", texts["recommended"]),
        ("choice.exact", None if choice is None else choice.exact),
        ("choice.within_budget", None if choice is None else choice.within_budget),
    ):
        if name is not None and name not in METHODS:
            raise _Wrong(f"{key} is {name[:80]!r}, no strategy", hint=_nearest(name, METHODS))
    front = _convert(table.get("front", []), list[dict[str, Any]], "front")
    if len(front) > MOST_POINTS:
        raise _Wrong(f"front has more than {MOST_POINTS} tables")
    settings, learned = _settings(table)
    return Profile(
        name=texts["name"] or path.stem,
        path=path,
        about=texts["about"] or "",
        recommended=texts["recommended"],
        models={
            role: name
            for role, name in (
                ("small", named["small"]),
                ("large", named["large"] or named["model"]),
            )
            if name is not None
        },
        made=_made(pair),
        vocabulary=named["vocabulary"],
        settings=settings,
        learned=learned,
        machine=_optional(table, "machine", MeasuredOn) or MeasuredOn(),
        costs=_costs(table["cost"]) if "cost" in table else None,
        budget=_optional(table, "budget", Budget),
        choice=choice,
        prices=_optional(table, "prices", Prices),
        signals=table.get("signals", {}),
        history=table.get("history", {}),
        front=tuple(front),
        tables=table,
    )


def _settings(
    table: Mapping[str, Any],
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[Role, dict[str, Any]]]]:
    """(settings by strategy, settings by strategy and role)."""
    settings: dict[str, dict[str, Any]] = {}
    learned: dict[str, dict[Role, dict[str, Any]]] = {}
    for name in METHODS:
        own = dict(table.get(name, {}))
        by_role = {role: own.pop(role) for role in _ROLES if isinstance(own.get(role), dict)}
        if own:
            settings[name] = own
        if by_role:
            learned[name] = by_role
            kind = METHODS[name].settings
            for role, found in by_role.items():
                values = setting_values.per_writer(kind, found)
                try:
                    setting_values.build(kind, f"{name}.{role}", ("", values))
                except UsageError as error:
                    raise _Wrong(error.message.removeprefix(": ")) from None
    return settings, learned


def _made(pair: Mapping[str, Any]) -> dict[Role, Made]:
    found: dict[Role, Made] = {}
    for role in _ROLES:
        facts = {what: pair.get(f"{role}_{what}") for what in Made.__struct_fields__}
        if any(fact is not None for fact in facts.values()):
            found[role] = _convert(facts, Made, f"pair.{role}")
    return found


def _costs(table: Mapping[str, Any]) -> Costs:
    columns: dict[Role, list[CostColumn]] = {}
    for role in _ROLES:
        found = _convert(table.get(role, []), list[CostColumn], f"cost.{role}")
        if len(found) > _MOST_COLUMNS:
            raise _Wrong(f"cost.{role} has more than {_MOST_COLUMNS} tables")
        columns[role] = found
    return Costs(_convert(table.get("context", 0), int, "cost.context"), columns)


def _optional(table: Mapping[str, Any], key: str, kind: type[T]) -> T | None:
    return _convert(table[key], kind, key) if key in table else None


def _convert(value: Any, kind: Any, where: str) -> Any:
    """`value` as the type `kind`. Raises _Wrong, which names the key."""
    if not _is_finite(value):
        raise _Wrong(f"{where} holds a number that is not finite")
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        # "Expected `str`, got `int` - at `$.keep`": the path continues the key
        reason, _, place = str(error).partition(" - at `$")
        words = _TYPE.sub(lambda found: _WORDS.get(found[1], found[0]), reason).replace("`", "")
        raise _Wrong(f"{where}{place.rstrip('`')}: {words[:1].lower()}{words[1:]}") from None


def _is_finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return True
    return all(map(_is_finite, value))


def _check_names(table: Mapping[str, Any], known: Iterable[str], prefix: str) -> None:
    for key in table:
        if key not in known:
            hint = _nearest(key, known, prefix, listed=False)
            raise _Wrong(f"unknown key {prefix}{key[:80]}", hint=hint)


def _nearest(
    name: str, known: Iterable[str], prefix: str = "", *, listed: bool = True
) -> str | None:
    near = difflib.get_close_matches(name, list(known), n=1)
    if near:
        return f"did you mean {prefix}{near[0]}?"
    return f"there are {', '.join(known)}" if listed else None
