"""What measured times depend on: the machine, the versions, the files; and how busy the machine is."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from adec import __version__
from adec.engines.base import ModelHeader
from adec.load import load_average, usable_cores

BUSY = 0.25
"""Load per core, by others, from which a machine counts as busy."""

_ENDS = 1 << 20
_BACKENDS = {"gguf": "llama-cpp-python", "safetensors": "torch"}


@dataclass(frozen=True)
class Machine:
    """Where a profile was made. Field for field the keys of its [machine] table."""

    system: str
    processor: str
    cores: int
    adec: str
    backend: str
    threads: int | None = None
    """Threads for one token and for batches; None: the engine's own choice."""
    batch_threads: int | None = None
    load: float | None = None
    """Load of the machine just before measuring, in running processes; None where the system does not say."""


def this_machine(header: ModelHeader) -> Machine:
    """This machine, as far as it matters to models of that format."""
    return Machine(
        system=f"{platform.system()} {platform.machine()}",
        processor=_processor(),
        cores=usable_cores(),
        adec=__version__,
        backend=_backend(header.info.format),
        load=load_average(),
    )


def busy(machine: Machine) -> str | None:
    """A sentence when others use this machine, so that times cannot be trusted; None when it is quiet."""
    if machine.load is None or machine.load <= BUSY * machine.cores:
        return None
    cores = "core" if machine.cores == 1 else "cores"
    return (
        f"the machine is busy (load {machine.load:.1f} on {machine.cores} {cores}): "
        "times will be too long and scattered. Calibrate again when it is quiet"
    )


def file_fingerprint(path: Path) -> str:
    """Sixteen hex digits over a model's size, beginning and end: enough to notice another file, quick for any size.

    Of a folder all weight files count. Raises OSError.
    """
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        size = file.stat().st_size
        digest.update(size.to_bytes(8, "little"))
        with file.open("rb") as opened:
            digest.update(opened.read(_ENDS))
            if size > _ENDS:
                opened.seek(max(_ENDS, size - _ENDS))
                digest.update(opened.read(_ENDS))
    return digest.hexdigest()[:16]


def _backend(format_: str) -> str:
    package = _BACKENDS.get(format_)
    if package is None:
        return format_
    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return package


def _processor() -> str:
    """The processor's name; Linux keeps it where Python does not look."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
