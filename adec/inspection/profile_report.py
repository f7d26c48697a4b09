"""A profile: its models, its promise and evidence, how old it is, and every threshold."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from adec.decoding import settings as setting_values
from adec.decoding.registry import METHODS
from adec.display.wording import many, value_text
from adec.engines.base import ModelHeader
from adec.engines.opening import read_header
from adec.engines.pair import differences
from adec.errors import AdecError
from adec.events.records import Role
from adec.inspection.profile_evidence import (
    COLUMNS,
    FrontPoint,
    front_blocks,
    front_points,
    promise_data,
    promise_lines,
    speed_data,
    speed_lines,
)
from adec.inspection.sheet import Block, Facts, Lines, Report, Table
from adec.models.names import locate
from adec.profiles.schema import Profile

COMMENTED_BYTES = 64 * 1024
"""Larger profiles are shown without their comments, because reading those takes a slower parser."""
_SHOWN = 200
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_EVIDENCE = {
    "budget": "the promise and its proof",
    "cost": "measured milliseconds of forwards",
    "machine": "where it was measured",
    "signals": "observed signals",
    "history": "how it came about",
}


def inspect_profile(profile: Profile, columns: int = COLUMNS) -> Report:
    """Look at a profile that was read; `columns` is the width of the terminal.

    A model that is missing is reported like everything else and raises nothing.
    """
    models = {role: _model(profile, role) for role in profile.models}
    headers = {role: header for role, (_, header) in models.items() if header is not None}
    front = front_points(profile)
    data: dict[str, Any] = {
        "type": "profile",
        "schema": 1,
        "name": profile.name,
        "path": str(profile.path),
        "about": profile.about,
        "recommended": profile.recommended,
        "recommended_known": profile.recommended is None or profile.recommended in METHODS,
        "vocabulary": profile.vocabulary,
        "modified": _modified(profile),
        "dates": sorted(set(_dates(profile.tables)))[:20],
        "models": {role: found for role, (found, _) in models.items()},
        "fits": _misfits(profile, headers),
        "other_models": profile.other_models(headers) if "large" in headers else [],
        "promise": promise_data(profile),
        "speed": speed_data(profile, headers),
        "front": [msgspec.structs.asdict(point) for point in front],
        "strategies": [_strategy(name, values) for name, values in profile.settings.items()],
        "evidence": {
            name: profile.tables[name]
            for name in _EVIDENCE
            if isinstance(profile.tables.get(name), dict)
        },
        "comments": _comments(profile),
    }
    return Report(data, list(_blocks(profile, data, front, columns)))


def _comments(profile: Profile) -> dict[str, str]:
    """Comments behind `key = value`, by "table.key"."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError
    from tomlkit.items import Table as TomlTable

    try:
        text = profile.path.read_bytes()[: COMMENTED_BYTES + 1].decode("utf-8")
        if len(text) > COMMENTED_BYTES:
            return {}
        document = tomlkit.parse(text)
    except (OSError, ValueError, RecursionError, TOMLKitError):
        return {}
    found: dict[str, str] = {}
    for name, table in document.items():
        for key in table if isinstance(table, TomlTable) else ():
            trivia = getattr(table.value.item(key), "trivia", None)
            comment = (getattr(trivia, "comment", "") or "").lstrip("# ").strip()
            if comment:
                found[f"{name}.{key}"] = comment[:_SHOWN]
    return found


def _model(profile: Profile, role: Role) -> tuple[dict[str, Any], ModelHeader | None]:
    named, path = profile.models[role], profile.model_path(role) or ""
    try:
        header = read_header(locate(path))
    except AdecError as error:
        return {"named": named, "path": path, "found": False, "why": error.message}, None
    return {"named": named, "path": str(header.info.path), "found": True, "why": None}, header


def _misfits(profile: Profile, models: Mapping[str, ModelHeader]) -> list[str]:
    """Why the profile does not fit its own models; empty if it does."""
    found = []
    small, large = models.get("small"), models.get("large")
    if large is not None:
        try:
            profile.check(large)
        except AdecError as error:
            found.append(error.message)
        if small is not None:
            found += differences(small.vocabulary, large.vocabulary)
    return found


def _strategy(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The table of one strategy: each value beside its default and meaning."""
    method = METHODS[name]
    try:
        setting_values.build(method.settings, name, ("profile", values))
        error = None
    except AdecError as trouble:
        error = str(trouble)
    known = {key: rest for key, *rest in setting_values.meanings(method.settings)}
    settings = []
    for key, value in values.items():
        default, meaning = known.get(key, (None, "unknown to this adec"))
        settings.append({"name": key, "value": value, "default": default, "meaning": meaning})
    return {"name": name, "error": error, "settings": settings}


def _modified(profile: Profile) -> str | None:
    try:
        stamp = profile.path.stat().st_mtime
        return datetime.datetime.fromtimestamp(stamp, datetime.UTC).isoformat(timespec="seconds")
    except (OSError, ValueError, OverflowError):
        return None


def _dates(value: Any) -> Iterator[str]:
    """Dates anywhere in a table, YYYY-MM-DD, written as TOML dates or as strings."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
        elif isinstance(item, datetime.date):
            yield item.isoformat()[:10]
        elif isinstance(item, str) and (match := _DATE.match(item)):
            yield match[0]


def _age(day: str) -> str:
    try:
        made = datetime.date.fromisoformat(day[:10])
    except ValueError:
        return day
    days = (datetime.datetime.now(datetime.UTC).date() - made).days
    if days < 0:
        return f"{day[:10]} (in the future)"
    return f"{day[:10]} ({many(days)} {'day' if days == 1 else 'days'} ago)"


def _blocks(
    profile: Profile, data: dict[str, Any], front: Sequence[FrontPoint], columns: int
) -> Iterator[Block]:
    recommended = data["recommended"] or "none"
    if not data["recommended_known"]:
        recommended += ", which this adec does not know"
    rows = [
        ("file", data["path"]),
        ("about", data["about"][:400] or "not recorded"),
        ("recommends", recommended),
        ("made", ", ".join(map(_age, data["dates"][:4])) or "no date in it"),
        ("file changed", _age(data["modified"]) if data["modified"] else "not known"),
        ("vocabulary", data["vocabulary"] or "not recorded: any pair is accepted"),
    ]
    for role, model in data["models"].items():
        why = "found" if model["found"] else f"missing: {model['why']}"
        rows.append((role, f"{model['named']} ({why})"))
    yield Facts(f"Profile {data['name']}", rows)
    yield Lines("Does it fit its models", data["fits"] or ["yes, as far as the headers say"])
    yield Lines("What it promises", list(promise_lines(profile, data["other_models"])))
    yield Lines("Speed", list(speed_lines(data["speed"])))
    yield from front_blocks(front, profile, columns)
    comments = data["comments"]
    for strategy in data["strategies"]:
        name = strategy["name"]
        settings = [
            (
                f"{name}.{row['name']}",
                value_text(row["value"]),
                value_text(row["default"]),
                row["meaning"],
                comments.get(f"{name}.{row['name']}", ""),
            )
            for row in strategy["settings"]
        ]
        header = ("setting", "value", "default", "meaning", "comment in the file")
        yield Table(f"Settings of {name}", header, settings, frozenset({1, 2}))
        if strategy["error"]:
            yield Lines("", [f"these settings are refused: {strategy['error']}"])
    for name, table in data["evidence"].items():
        values = [
            (key, value_text(value), comments.get(f"{name}.{key}", ""))
            for key, value in _flat(table)
        ]
        names = ("key", "value", "comment in the file")
        yield Table(f"[{name}] {_EVIDENCE[name]}", names, values)


def _flat(table: dict[str, Any]) -> list[tuple[str, Any]]:
    """Keys of tables within tables as "a.b", at most `_SHOWN` of them."""
    rows: list[tuple[str, Any]] = []
    waiting = [("", table)]
    while waiting and len(rows) < _SHOWN:
        before, inner = waiting.pop()
        for key, value in inner.items():
            if isinstance(value, dict) and value:
                waiting.append((f"{before}{key[:80]}.", value))
            elif len(rows) < _SHOWN:
                rows.append((f"{before}{key[:80]}", value))
    return rows
