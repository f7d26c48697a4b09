"""`adec inspect env` and `config`: the machine, the packages, and every setting with its origin.

Versions come from package metadata, so that no backend is imported.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Mapping
from importlib import metadata
from importlib.util import find_spec
from typing import Any

from adec import __version__
from adec.decoding import settings as setting_values
from adec.decoding.registry import METHODS, default_method
from adec.defaults import KEYS, Setting
from adec.defaults import settings as defaults_of
from adec.display.wording import many, size, value_text
from adec.engines.llama.rpc_addresses import Address, is_trusted, parse_servers, resolve
from adec.engines.llama.rpc_probe import probe
from adec.engines.opening import devices, read_header
from adec.errors import AdecError
from adec.inspection.sheet import Block, Facts, Lines, Report, Table
from adec.machine import load_average, memory, processor, usable_cores
from adec.models.names import locate
from adec.places import kept_folder, profile_folders
from adec.profiles.find import available, find_profile
from adec.profiles.schema import Profile

BACKENDS = {
    "llama.cpp (GGUF files)": ("llama-cpp-python", "llama_cpp"),
    "torch (Hugging Face folders)": ("torch", "torch"),
}
PACKAGES = ("transformers", "tokenizers", "safetensors", "numpy", "rich", "typer", "gguf")
VARIABLES = {
    "ADEC_HOME": "moves everything that adec keeps for you into one folder",
    "ADEC_MODELS": "more folders in which models are looked for by name",
    "ADEC_DEBUG": "1 lets tracebacks through",
    "ADEC_STDIN_TIMEOUT": "seconds to wait for a silent pipe beside a prompt (3 when not set)",
    "NO_COLOR": "anything: no colours",
    "FORCE_COLOR": "anything: colours, also in a pipe",
}
"""The environment variables that adec reads, beside ADEC_ and an option."""
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES")


def inspect_environment(*, deep: bool = False, rpc: str | None = None) -> Report:
    """Look at the machine. `deep` asks the backends for their devices, which takes seconds.

    `rpc` names RPC servers to ask who they are. Raises UsageError for a bad address.
    """
    total, available = memory()
    data: dict[str, Any] = {
        "type": "env",
        "schema": 1,
        "adec": __version__,
        "python": platform.python_version(),
        "executable": sys.executable,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": processor(),
        "cores_online": os.cpu_count(),
        "threads_default": usable_cores(),
        "memory_bytes": total,
        "memory_available_bytes": available,
        "load": load_average(),
        "backends": [_backend(name, *where) for name, where in BACKENDS.items()],
        "packages": {name: _version(name) for name in PACKAGES},
        "variables": {name: os.environ.get(name) for name in _THREAD_VARIABLES},
        "gpu_tools": [tool for tool in ("nvidia-smi", "rocm-smi") if shutil.which(tool)],
        "devices": devices() if deep else None,
        "rpc_servers": None if rpc is None else [_server(named) for named in parse_servers(rpc)],
    }
    return Report(data, _blocks(data))


def _server(named: Address) -> dict[str, Any]:
    """What an RPC server says, or why it says nothing."""
    try:
        address = resolve(named)
        found = probe(address)
    except AdecError as error:
        return {"address": str(named), "error": str(error)}
    return {
        "address": str(named),
        "host": address.host,
        "private": is_trusted(address.host),
        "protocol": found.version,
        "round_trip_ms": found.round_trip_ms,
        "devices": [{"bytes": d.total, "free_bytes": d.free} for d in found.devices],
        "error": None,
    }


def _server_line(row: Mapping[str, Any]) -> tuple[str, str]:
    if row["error"] is not None:
        return row["address"], row["error"]
    memory = ", ".join(
        f"{size(device['bytes'])} with {size(device['free_bytes'])} free"
        for device in row["devices"]
    )
    network = "private network" if row["private"] else "OUTSIDE private networks"
    return row["address"], (
        f"protocol {row['protocol']}, {row['round_trip_ms']:.2f} ms there and back, {network};"
        f" {len(row['devices'])} device{'' if len(row['devices']) == 1 else 's'}: {memory}"
    )


def _backend(name: str, package: str, module: str) -> dict[str, Any]:
    try:
        there = find_spec(module) is not None
    except (ImportError, ValueError):
        there = False
    return {"name": name, "package": package, "version": _version(package), "installed": there}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _blocks(data: dict[str, Any]) -> list[Block]:
    memory = "not known"
    if data["memory_bytes"] is not None:
        memory = size(data["memory_bytes"])
        if data["memory_available_bytes"] is not None:
            memory += f", {size(data['memory_available_bytes'])} free"
    machine = [
        ("adec", data["adec"]),
        ("python", f"{data['python']} ({data['executable']})"),
        ("system", data["system"]),
        ("processor", data["processor"]),
        ("cores", f"{data['cores_online']} online, {data['threads_default']} used by default"),
        ("memory", memory),
        ("load", "not known" if data["load"] is None else f"{data['load']:.2f}"),
    ]
    backends = [
        (row["name"], row["package"], row["version"] or "?", "yes" if row["installed"] else "no")
        for row in data["backends"]
    ]
    packages = [(name, version or "not installed") for name, version in data["packages"].items()]
    variables = [(name, value or "not set") for name, value in data["variables"].items()]
    blocks: list[Block] = [
        Facts("This machine", machine),
        Table("Backends", ("backend", "package", "version", "installed"), backends),
        Facts("Packages", packages),
        Facts("Variables that backends read", variables),
    ]
    load, threads = data["load"], data["threads_default"]
    if load is not None and load > threads:
        blocks.append(
            Lines(
                "", [f"{load:.1f} jobs for {many(threads)} cores: measured speeds mean little now"]
            )
        )
    if data["devices"] is None:
        tools = ", ".join(data["gpu_tools"]) or "none found"
        blocks.append(Lines("Devices", [f"GPU tools: {tools}; --devices asks the backends (slow)"]))
    else:
        blocks.append(Lines("Devices", data["devices"]))
    if data["rpc_servers"]:
        blocks.append(Facts("RPC servers", [_server_line(row) for row in data["rpc_servers"]]))
    return blocks


def _default(profile: Profile) -> str | None:
    """What runs on the models of a profile that recommends nothing; None if they are unreadable."""
    found = {"small": profile.model_path("small"), "large": profile.model_path("large")}
    try:
        models = {role: read_header(locate(name)) for role, name in found.items() if name}
    except (AdecError, OSError):
        return None
    return default_method(models).name if models else None


def inspect_config(pair: str = "practice", environment: Mapping[str, str] | None = None) -> Report:
    """Settings as `adec run --pair PAIR` would use them.

    Raises ProfileError for an unknown pair, UsageError for a broken settings file.
    """
    environment = os.environ if environment is None else environment
    profile = find_profile(pair)
    defaults = defaults_of(environment)
    rows = [row for name in METHODS for row in _settings(name, profile, defaults.get("set"))]
    recommended = f"profile {profile.name}" if profile.recommended else "default"
    strategy = Setting("strategy", profile.recommended or _default(profile), recommended)
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
        "remembered_folder": str(kept_folder("remembered")),
        "profiles": {name: str(path) for name, path in available().items()},
    }
    return Report(data, _config_blocks(data))


def _settings(name: str, profile: Profile, given: Setting | None) -> list[dict[str, Any]]:
    """The settings of one strategy, each with its origin, default and meaning."""
    method, choice = METHODS[name], profile.choice
    origins: dict[str, str] = {}
    error = None
    try:
        assigned = {} if given is None else setting_values.parse_assignments(given.value)
        own: Mapping[str, Any] = assigned.get(name, {})
        fitted: Mapping[str, Any] = profile.settings_of(name, own)
        if choice is not None and choice.exact == name != choice.within_budget:
            fitted = choice.exact_settings or fitted
        layers = [(f"profile {profile.name}", fitted), ("" if given is None else given.origin, own)]
        for origin, values in layers:
            origins |= dict.fromkeys(values, origin)
        chosen = setting_values.build(method.settings, name, *layers)
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


def _config_blocks(data: dict[str, Any]) -> list[Block]:
    strategy = data["strategy"] or "not known without readable models"
    places = [
        ("strategy", f"{strategy} ({data['strategy_origin']})"),
        ("profile", data["profile_path"]),
        *(("profiles from", folder) for folder in data["profile_folders"]),
        ("profiles known", ", ".join(data["profiles"])),
        ("measured costs", data["cost_folder"]),
        ("remembered answers", data["remembered_folder"]),
    ]
    settings = []
    for row in data["settings"]:
        value, default = value_text(row["value"]), value_text(row["default"])
        settings.append((row["name"], value, row["origin"], default, row["meaning"]))
    options = [
        (row["name"], value_text(row["value"]), row["origin"])
        for row in data["options"]
        if row["value"] is not None
    ]
    unset = ", ".join(row["name"] for row in data["options"] if row["value"] is None)
    blocks: list[Block] = [
        Facts(f"adec run --pair {data['profile']}", places),
        Table("Options set in files or the environment", ("option", "value", "from"), options),
        Lines("", [f"not set: {unset}"] if unset else []),
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
    order = "a flag beats ADEC_*, that ./adec.toml, that your config.toml, that the profile"
    return [*blocks, Lines("", [order])]
