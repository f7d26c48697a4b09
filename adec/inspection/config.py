"""Every setting with where its value comes from, and the environment variables that adec reads."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from adec.decoding import settings as setting_values
from adec.decoding.registry import METHODS
from adec.defaults import KEYS, Setting
from adec.defaults import settings as defaults_of
from adec.errors import AdecError
from adec.inspection.sheet import Block, Facts, Lines, Report, Table
from adec.places import kept_folder, profile_folders
from adec.profiles.read import Profile, available, find_profile

VARIABLES = {
    "ADEC_HOME": "moves everything that adec keeps for you into one folder",
    "ADEC_DEBUG": "1 lets tracebacks through",
    "ADEC_STDIN_TIMEOUT": "seconds to wait for a silent pipe beside a prompt (3 when not set)",
    "NO_COLOR": "anything: no colours",
    "FORCE_COLOR": "anything: colours, also in a pipe",
}
"""What adec reads from its environment, in the order in which it is shown."""


def inspect_config(pair: str = "practice", environment: Mapping[str, str] | None = None) -> Report:
    """Settings as `adec run --pair PAIR` would have them.

    Raises ProfileError for an unknown pair, UsageError for a settings file that is wrong.
    """
    environment = os.environ if environment is None else environment
    profile = find_profile(pair)
    defaults = defaults_of(environment)
    rows = [row for name in METHODS for row in _settings(name, profile, defaults.get("set"))]
    recommended = f"profile {profile.name}" if profile.recommended else "default"
    strategy = Setting("strategy", profile.recommended or "speculate", recommended)
    strategy = defaults.get("strategy", strategy)
    data: dict[str, Any] = {
        "type": "config",
        "schema": 1,
        "profile": profile.name,
        "profile_path": str(profile.path),
        "strategy": strategy.value,
        "strategy_origin": strategy.origin,
        "options": [
            {"name": key, "value": defaults[key].value, "origin": defaults[key].origin}
            if key in defaults
            else {"name": key, "value": None, "origin": "not set"}
            for key in KEYS
        ],
        "settings": rows,
        "variables": [
            {"name": name, "value": environment.get(name), "meaning": meaning}
            for name, meaning in VARIABLES.items()
        ],
        "profile_folders": [str(folder) for folder in profile_folders()],
        "cost_folder": str(kept_folder("cost")),
        "history_folder": str(kept_folder("history")),
        "profiles": {name: str(path) for name, path in available().items()},
    }
    return Report(data, _blocks(data))


def _settings(name: str, profile: Profile, given: Setting | None) -> list[dict[str, Any]]:
    method = METHODS[name]
    fitted: Mapping[str, Any] = profile.settings.get(name, {})
    choice = profile.choice
    if choice is not None and choice.exact == name != choice.within_budget:
        fitted = choice.exact_settings or fitted
    origins = dict.fromkeys(fitted, f"profile {profile.name}")
    error = None
    try:
        assigned: Mapping[str, Any] = {}
        if given is not None:
            assigned = setting_values.parse_assignments(given.value).get(name, {})
            origins |= dict.fromkeys(assigned, given.origin)
        chosen = setting_values.build(
            method.settings,
            name,
            (f"profile {profile.name}", fitted),
            ("" if given is None else given.origin, assigned),
        )
    except AdecError as trouble:
        chosen, error = method.settings(), str(trouble)
    return [
        {
            "name": f"{name}.{key}",
            "value": getattr(chosen, key),
            "default": default,
            "origin": "default" if error else origins.get(key, "default"),
            "meaning": meaning,
            "error": error if key in origins else None,
        }
        for key, default, meaning in setting_values.meanings(method.settings)
    ]


def _blocks(data: dict[str, Any]) -> list[Block]:
    places = [
        ("strategy", f"{data['strategy']} ({data['strategy_origin']})"),
        ("profile", data["profile_path"]),
        *(("profiles from", folder) for folder in data["profile_folders"]),
        ("profiles known", ", ".join(data["profiles"])),
        ("measured costs", data["cost_folder"]),
        ("kept answers", data["history_folder"]),
    ]
    settings = [
        (row["name"], _word(row["value"]), row["origin"], _word(row["default"]), row["meaning"])
        for row in data["settings"]
    ]
    options = [
        (row["name"], _word(row["value"]), row["origin"])
        for row in data["options"]
        if row["value"] is not None
    ]
    blocks: list[Block] = [
        Facts(f"adec run --pair {data['profile']}", places),
        Table("Options set in files or the environment", ("option", "value", "from"), options),
        Table("Settings", ("name", "value", "from", "default", "meaning"), settings),
    ]
    errors = sorted({row["error"] for row in data["settings"] if row["error"]})
    if errors:
        blocks.append(Lines("Settings that are refused", errors))
    variables = [
        (row["name"], "not set" if row["value"] is None else row["value"][:200], row["meaning"])
        for row in data["variables"]
    ]
    blocks.append(Table("Environment", ("variable", "value", "meaning"), variables))
    blocks.append(
        Lines(
            "", ["a flag beats ADEC_*, that ./adec.toml, that your config.toml, that the profile"]
        )
    )
    return blocks


def _word(value: Any) -> str:
    return (
        "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    )
