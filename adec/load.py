"""What of the machine this process may use, and how busy it is."""

from __future__ import annotations

import os
from pathlib import Path


def load_average() -> float | None:
    """Processes that wanted to run in the last minute, on average; None where the system does not say."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


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
