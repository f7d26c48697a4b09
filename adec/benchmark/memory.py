"""Peak memory, of this process for one answer at a time, and of a program.

All rows of strategies run in one process that holds the models of all: what a row shows is the most that was resident while it
answered, not what it would need alone. Only Linux lets a process forget its peak; elsewhere nothing is said, since the
peak since the start belongs to no row.
"""

from __future__ import annotations

from pathlib import Path

_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"


def reset_peak() -> bool:
    """Forget the highest resident memory of this process so far; False where that is not possible."""
    try:
        _CLEAR.write_text(_RESET_PEAK)
    except OSError:
        return False
    return True


def peak_bytes(process: int | None = None) -> int | None:
    """Highest resident memory of this process since `reset_peak`, or of another since its start; None if unknown."""
    try:
        status = Path(f"/proc/{process or 'self'}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return 1024 * int(line.split()[1])
    except (OSError, ValueError, IndexError, StopIteration):
        return None
