"""A profile: which models it is for, what it promises on which evidence, how old that is, and every threshold."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Iterator
from typing import Any

from adec.answering.models import locate
from adec.decoding import settings as setting_values
from adec.decoding.registry import METHODS
from adec.display.wording import many
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
from adec.profiles.schema import Profile

COMMENTED_BYTES = 64 * 1024
"""Larger profiles are shown without their comments: telling them takes a slower parser."""
_SHOWN = 200
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_EVIDENCE = {
    "budget": "what was promised, and how it was proved",
    "cost": "measured milliseconds of forwards",
    "machine": "where it was measured",
    "signals": "what was seen of the signals",
    "history": "how it came about",
}


def inspect_profile(profile: Profile, columns: int = COLUMNS) -> Report:
    """Look at a profile that was read. A model that is not there is a finding, not an error. `columns`: of the terminal."""
    table = profile.tables
    comments = _comments(profile)
    models = {role: _model(profile, role) for role in profile.models}
    headers = {role: header for role, (_, header) in models.items()}
    large, small = headers.get("large"), headers.get("small")
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
        "dates": sorted(set(_dates(table)))[:20],
        "models": {role: found for role, (found, _) in models.items()},
        "fits": _fits(profile, headers),
        "other_models": []
        if large is None
        else profile.other_models({r: h for r, h in headers.items() if h is not None}),
        "promise": promise_data(profile),
        "speed": speed_data(profile, large, small),
        "front": [point.data() for point in front],
        "strategies": [_strategy(name, values) for name, values in profile.settings.items()],
        "evidence": {name: table[name] for name in _EVIDENCE if isinstance(table.get(name), dict)},
        "comments": comments,
    }
    return Report(data, list(_blocks(profile, data, comments, front, columns)))


def _comments(profile: Profile) -> dict[str, str]:
    """Comments at the end of `key = value` lines, by "table.key"."""
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
        if not isinstance(table, TomlTable):
            continue
        for key in table:
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


def _fits(profile: Profile, models: dict[str, ModelHeader | None]) -> list[str]:
    """What keeps the profile from fitting its own models; empty when nothing does."""
    found = []
    small, large = models.get("small"), models.get("large")
    if large is not None:
        try:
            profile.check(large)
        except AdecError as error:
            found.append(error.message)
    if small is not None and large is not None:
        found += differences(small.vocabulary, large.vocabulary)
    return found


def _strategy(name: str, values: dict[str, Any]) -> dict[str, Any]:
    """One table of settings against what the strategy knows."""
    method = METHODS[name]
    try:
        setting_values.build(method.settings, name, ("profile", values))
        error = None
    except AdecError as trouble:
        error = str(trouble)
    known = {
        key: (default, meaning)
        for key, default, meaning in setting_values.meanings(method.settings)
    }
    settings = [
        {
            "name": key,
            "value": value,
            "default": known[key][0] if key in known else None,
            "meaning": known[key][1] if key in known else "unknown to this adec",
        }
        for key, value in values.items()
    ]
    return {"name": name, "error": error, "settings": settings}


def _modified(profile: Profile) -> str | None:
    try:
        stamp = profile.path.stat().st_mtime
        return datetime.datetime.fromtimestamp(stamp, datetime.UTC).isoformat(timespec="seconds")
    except (OSError, ValueError, OverflowError):
        return None


def _dates(value: Any) -> Iterator[str]:
    """Dates anywhere in a table, as TOML dates or as words, YYYY-MM-DD."""
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
    profile: Profile,
    data: dict[str, Any],
    comments: dict[str, str],
    front: list[FrontPoint],
    columns: int,
) -> Iterator[Block]:
    recommended = data["recommended"] or "none"
    if not data["recommended_known"]:
        recommended += ", which this adec does not know"
    rows = [
        ("file", data["path"]),
        ("about", data["about"][:400] or "nothing said"),
        ("recommends", recommended),
        ("made", ", ".join(map(_age, data["dates"][:4])) or "no date in it"),
        ("file changed", _age(data["modified"]) if data["modified"] else "not known"),
        ("vocabulary", data["vocabulary"] or "not said: any pair is taken"),
    ]
    for role, model in data["models"].items():
        said = "" if model["found"] else f": {model['why']}"
        rows.append((role, f"{model['named']} ({'found' if model['found'] else 'missing'}{said})"))
    yield Facts(f"Profile {data['name']}", rows)
    yield Lines("Does it fit its models", data["fits"] or ["yes, as far as the headers say"])
    yield Lines("What it promises", list(promise_lines(profile, data["other_models"])))
    yield Lines("Speed", list(speed_lines(data["speed"])))
    budget = profile.budget
    yield from front_blocks(
        front,
        "quality" if budget is None else budget.metric[:40],
        None if budget is None else budget.keep,
        min(columns, COLUMNS),
    )
    for strategy in data["strategies"]:
        settings = [
            (
                f"{strategy['name']}.{row['name']}",
                _value(row["value"]),
                _value(row["default"]),
                row["meaning"],
                comments.get(f"{strategy['name']}.{row['name']}", ""),
            )
            for row in strategy["settings"]
        ]
        header = ("setting", "value", "default", "meaning", "the file's own comment")
        yield Table(f"Settings of {strategy['name']}", header, settings, frozenset({1, 2}))
        if strategy["error"]:
            yield Lines("", [f"these settings are refused: {strategy['error']}"])
    for name, table in data["evidence"].items():
        yield _evidence(name, table, comments)


def _evidence(name: str, table: dict[str, Any], comments: dict[str, str]) -> Block:
    rows = [(key, _value(value), comments.get(f"{name}.{key}", "")) for key, value in _flat(table)]
    title = f"[{name}] {_EVIDENCE[name]}"
    return Table(title, ("key", "value", "the file's own comment"), rows)


def _flat(table: dict[str, Any], prefix: str = "", room: int = _SHOWN) -> list[tuple[str, Any]]:
    """Keys of tables within tables as "a.b", at most `room` of them."""
    rows: list[tuple[str, Any]] = []
    waiting = [(prefix, table)]
    while waiting and len(rows) < room:
        before, inner = waiting.pop()
        for key, value in inner.items():
            if isinstance(value, dict) and value:
                waiting.append((f"{before}{key[:80]}.", value))
            elif len(rows) < room:
                rows.append((f"{before}{key[:80]}", value))
    return rows


def _value(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else str(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        shown = ", ".join(map(_value, value[:16]))
        return f"{shown}, … ({many(len(value))} in all)" if len(value) > 16 else shown
    text = str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} …"
