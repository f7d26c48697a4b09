"""The machine and what is installed on it, as adec sees them. Versions come from package metadata: nothing is imported for them."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from importlib import metadata
from importlib.util import find_spec
from typing import Any

from adec import __version__
from adec.inspection.figures import many, size
from adec.inspection.sheet import Block, Facts, Lines, Report, Table
from adec.machine import load_average, memory, processor, usable_cores

BACKENDS = {
    "llama.cpp (GGUF files)": ("llama-cpp-python", "llama_cpp"),
    "torch (Hugging Face folders)": ("torch", "torch"),
}
PACKAGES = ("transformers", "tokenizers", "safetensors", "numpy", "rich", "typer", "gguf")
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES")


def inspect_environment(*, deep: bool = False) -> Report:
    """What runs here. `deep` loads the backends and asks them for their devices, which takes seconds."""

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
        "devices": _devices() if deep else None,
    }
    return Report(data, _blocks(data))


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


def _devices() -> list[str]:
    """Devices by the backends' own word."""
    from adec.engines.devices import devices

    return devices()


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
        ("load", "not known" if data["load"] is None else str(data["load"])),
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
                "",
                [
                    f"the machine is busy ({load} jobs for {many(threads)} cores): speeds mean little now"
                ],
            )
        )
    if data["devices"] is None:
        tools = ", ".join(data["gpu_tools"]) or "none found"
        blocks.append(Lines("Devices", [f"GPU tools: {tools}; --devices asks the backends (slow)"]))
    else:
        blocks.append(Lines("Devices", data["devices"]))
    return blocks
