"""Runs a command that judges a reply: a process of its own with little time, memory and, where the OS lets us, no network."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from contextlib import suppress

from adec.judging.sandbox import CUT_OFF

SECONDS = 10.0
MEMORY_BYTES = 2 * 2**30

# the limits hold for the process before it becomes the command, and for all that the command starts
_LAUNCHER = """
import os, sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, ({memory}, {memory}))
    resource.setrlimit(resource.RLIMIT_CPU, ({cpu}, {cpu}))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 ** 24, 2 ** 24))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
except ImportError:
    pass
{cut_off}
os.execvp(sys.argv[1], sys.argv[1:])
"""


def succeeds(command: str, reply: str, *, seconds: float = SECONDS) -> bool:
    """Whether `command`, split as a shell would but run without one, reads `reply` and exits with 0 within the limits."""
    words = shlex.split(command)
    script = _LAUNCHER.format(memory=MEMORY_BYTES, cpu=max(1, round(seconds)), cut_off=CUT_OFF)
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", script, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        process.communicate(reply.encode("utf-8", "replace"), timeout=seconds)
    except subprocess.TimeoutExpired:
        return False
    finally:
        # the session is the command's own: what it left running goes with it
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return process.returncode == 0
