"""Runs Python that a model wrote: a process of its own, with little time, memory and reach.

This keeps an honest but wrong program from hanging or filling the machine. It is no prison for a
program written to break out; the practice models write nothing of that sort.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from secrets import token_hex

SECONDS = 2.0
MEMORY_BYTES = 512 * 2**20
CUT_OFF = """
try:
    import ctypes
    # Linux: user and network namespaces of its own, in which there is no interface; refused by some systems
    ctypes.CDLL(None).unshare(0x10000000 | 0x40000000)
except (ImportError, AttributeError, OSError):
    pass
"""
"""Source that leaves the network, where the system allows it without rights."""
_DRIVER = """
import sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, ({memory}, {memory}))
    resource.setrlimit(resource.RLIMIT_CPU, ({cpu}, {cpu}))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
except ImportError:
    pass
{cut_off}
scope = {{"__name__": "reply"}}
exec(compile({source!r}, "reply", "exec"), scope)
for test in {tests!r}:
    if eval(test, scope) is not True:
        sys.exit(1)
sys.stdout.write({token!r})
"""


def passes(source: str, tests: Sequence[str], *, seconds: float = SECONDS) -> bool:
    """Whether every test expression is True after `source` ran, within the limits."""
    if not tests or "\x00" in source:
        return False
    token = token_hex(16)  # a reply that leaves early, or prints something, does not know it
    script = _DRIVER.format(
        memory=MEMORY_BYTES,
        cpu=max(1, round(seconds)),
        cut_off=CUT_OFF,
        source=source,
        tests=list(tests),
        token=token,
    )
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-S", "-"],
                input=script.encode("utf-8", "backslashreplace"),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=folder,
                env={},
                timeout=seconds,
                check=False,
            )
        except (subprocess.TimeoutExpired, OSError):
            return False
    return done.returncode == 0 and done.stdout.endswith(token.encode())
