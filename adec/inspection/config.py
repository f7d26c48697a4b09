"""Every setting with where its value comes from, and the environment variables that adec reads."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from adec.decoding import settings as setting_values
from adec.decoding.registry import METHODS
from adec.errors import AdecError
from adec.inspection.sheet import Block, Facts, Lines, Report, Table
from adec.places import kept_folder, profile_folders
from adec.profile import Profile, available, find_profile

VARIABLES = {
    "ADEC_HOME": "moves everything that adec keeps for you into one folder",
    "ADEC_DEBUG": "1 lets tracebacks through",
    "ADEC_STDIN_TIMEOUT": "seconds to wait for a silent pipe beside a prompt (3 when not set)",
    "NO_COLOR": "anything: no colours",
    "FORCE_COLOR": "anything: colours, also in a pipe",
}
"""What adec reads from its environment, in the order in which it is shown."""


def inspect_config(pair: str = "practice", environment: Mapping[str, str] | None = None) -> Report:
    """Settings as `adec run --pair PAIR` would have them. Raises ProfileError for an unknown pair."""
    environment = os.environ if environment is None else environment
    profile = find_profile(pair)
    rows = [row for name in METHODS for row in _settings(name, profile)]
    data: dict[str, Any] = {
        "type": "config",
        "schema": 1,
        "profile": profile.name,
        "profile_path": str(profile.path),
        "strategy": profile.recommended or "ead",
        "strategy_origin": f"profile {profile.name}" if profile.recommended else "default",
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


def _settings(name: str, profile: Profile) -> list[dict[str, Any]]:
    method = METHODS[name]
    fitted = profile.settings.get(name, {})
    error = None
    try:
        chosen = setting_values.build(method.settings, name, (f"profile {profile.name}", fitted))
    except AdecError as trouble:
        chosen, error = method.settings(), str(trouble)
    return [
        {
            "name": f"{name}.{key}",
            "value": getattr(chosen, key),
            "default": default,
            "origin": f"profile {profile.name}" if key in fitted and not error else "default",
            "meaning": meaning,
            "error": error if key in fitted else None,
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
    blocks: list[Block] = [
        Facts(f"adec run --pair {data['profile']}", places),
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
        Lines("", ["--set STRATEGY.NAME=VALUE beats the profile, which beats the default"])
    )
    return blocks


def _word(value: Any) -> str:
    return (
        "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    )
