"""This machine: its processor, the share that this process may use, its load, and what measured
times depend on."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from time import sleep

from adec import __version__

BUSY = 0.25
"""Load per core from which a machine counts as busy."""

LOOKS, BETWEEN = 3, 0.002
"""How often it is looked who else runs, and the seconds in between."""

_ENDS = 1 << 20
_BACKENDS = {"gguf": "llama-cpp-python", "safetensors": "torch", "gguf-torch": "torch"}


@dataclass(frozen=True)
class Machine:
    """Where times were measured. The fields are the keys of a profile's [machine] table."""

    system: str
    processor: str
    cores: int
    adec: str
    backend: str
    threads: int | None = None
    """Threads for forwards of one token, and below for larger ones; None: the engine's choice."""
    batch_threads: int | None = None
    load: float | None = None
    """Processes that wanted to run just before measuring; None where the system does not say."""
    rpc: str | None = None
    """RPC servers that run the large model's layers; None: this machine does."""
    dtype: str | None = None
    """The number format that the large model computed in; None where its file alone decides."""


def this_machine(model_format: str) -> Machine:
    """This machine, as far as it matters to models of a format (`ModelInfo.format`)."""
    return Machine(
        system=f"{platform.system()} {platform.machine()}",
        processor=processor(),
        cores=usable_cores(),
        adec=__version__,
        backend=_backend(model_format),
        load=load_average(),
    )


def busy(machine: Machine) -> str | None:
    """A warning that times cannot be trusted since others use this machine; None if it is quiet."""
    if machine.load is None or machine.load <= BUSY * machine.cores:
        return None
    cores = "core" if machine.cores == 1 else "cores"
    return (
        f"the machine is busy (load {machine.load:.1f} on {machine.cores} {cores}): "
        "times will be too long and scattered. Calibrate again when it is quiet"
    )


def file_fingerprint(path: Path) -> str:
    """Sixteen hex digits over a model's size, beginning and end: enough to notice a change.

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


def processor() -> str:
    """The processor's name; Linux keeps it where Python does not look."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def load_average() -> float | None:
    """Mean number of processes ready to run in the last minute; None where it is unknown."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def processors() -> int:
    """Logical cores that this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        return os.cpu_count() or 1


def others_running(proc: Path = Path("/proc")) -> int | None:
    """Threads of other programs that run or wait for a core now; None where that is unknown."""
    try:
        running = int((proc / "loadavg").read_text().split()[3].partition("/")[0])
        own = 0
        for task in os.listdir(proc / "self/task"):
            try:
                stat = (proc / "self/task" / task / "stat").read_text()
            except OSError:  # it has just ended
                continue
            own += stat.rpartition(")")[2].split()[0] == "R"
        return max(0, running - own)
    except (OSError, ValueError, IndexError):
        return None


def others_steadily(
    look: Callable[[], int | None] = others_running, pause: Callable[[float], None] = sleep
) -> int | None:
    """The least of several looks: what runs for a moment only is not counted."""
    least = look()
    for _ in range(LOOKS - 1):
        if not least:
            break
        pause(BETWEEN)
        again = look()
        least = least if again is None else min(least, again)
    return least


def in_use() -> bool:
    """Whether other programs want a core of this machine now."""
    others = others_steadily()
    if others is not None:
        return others > 0
    load = load_average()
    return load is not None and load > BUSY * processors()


def usable_cores() -> int:
    """Physical cores among those this process may run on, at most its share of processor time."""
    try:
        mask = os.sched_getaffinity(0)
    except AttributeError:  # macOS, Windows
        return os.cpu_count() or 1
    cores = set()
    for cpu in mask:
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        try:
            cores.add(siblings.read_text())
        except OSError:
            cores.add(str(cpu))
    try:  # a container's quota: more threads than that only wait for each other
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(len(cores), -(-int(quota) // int(period))))
    except (OSError, ValueError):
        return max(1, len(cores))


def memory() -> tuple[int | None, int | None]:
    """Bytes of memory in all and free to use; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        found = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if ":" in line}
        return found.get("MemTotal"), found.get("MemAvailable")
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), None
    except (OSError, ValueError, AttributeError):
        return None, None
