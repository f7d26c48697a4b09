"""Runs commands and code that judge a reply, with limits on time, memory, files and output.

The limits hold for everything that the process starts. On Linux it also has no network, where the
system lets a process without rights give it up. This keeps an honest but wrong program from
hanging or filling the machine. It is no prison for a program written to break out.
"""

from __future__ import annotations

import os
import select
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from secrets import token_hex
from time import monotonic

NOT_STARTED = 127
"""Exit status of a command that could not be started, as in a shell."""

_LAUNCHER = """
import os, sys
memory, seconds, size, files = map(int, sys.argv[1:5])
try:
    import resource
except ImportError:
    resource = None
limits = {"AS": memory, "CPU": seconds, "FSIZE": size, "NOFILE": files, "CORE": 0}
for name, most in limits.items():
    try:
        resource.setrlimit(getattr(resource, "RLIMIT_" + name), (most, most))
    except (AttributeError, ValueError, OSError):
        pass  # unknown to this system, or a stricter limit holds already
try:
    import ctypes
    # new user and network namespaces; in the latter there is no interface
    ctypes.CDLL(None).unshare(0x10000000 | 0x40000000)
except (ImportError, AttributeError, OSError):
    pass
if len(sys.argv) > 5:
    try:
        os.execvp(sys.argv[5], sys.argv[5:])
    except OSError:
        sys.exit(127)
exec(compile(sys.stdin.buffer.read(), "reply", "exec"), {"__name__": "__main__"})
"""

_TESTS = """
import sys
scope = {{"__name__": "reply"}}
exec(compile({source!r}, "reply", "exec"), scope)
for test in {tests!r}:
    if eval(test, scope) is not True:
        sys.exit(1)
sys.stdout.write({token!r})
"""


@dataclass(frozen=True, slots=True)
class Confinement:
    """What a confined process may take."""

    seconds: float
    """Wall time; processor time has the same limit, rounded to seconds."""
    memory_bytes: int = 2 * 2**30
    """Address space of each process."""
    file_bytes: int = 16 * 2**20
    """Size of each file that it writes."""
    open_files: int = 256
    output_bytes: int = 64 * 2**10
    """More is refused; with 0, output of any length is thrown away."""


COMMAND = Confinement(10.0, output_bytes=0)
"""For a command of which only the exit status counts."""
CODE = Confinement(2.0, memory_bytes=512 * 2**20, file_bytes=0, open_files=16)
"""For Python that a model wrote."""


class Refused(Exception):
    """A confined process broke a limit; the message is the end of a sentence about it."""


def run_confined(
    words: Sequence[str], text: bytes, limits: Confinement, *, bare: bool = False
) -> tuple[int, bytes]:
    """Run a command on `text` as its standard input. Return (exit status, standard output).

    Without words, `text` itself is run as Python. A `bare` process has no environment variables,
    and an empty folder to work in. When this returns or raises, the process and all others of its
    session have been killed. Raises Refused when it takes too long or prints too much, OSError
    when no process can be started.
    """
    deadline = monotonic() + limits.seconds
    numbers = (
        limits.memory_bytes, max(1, round(limits.seconds)), limits.file_bytes, limits.open_files
    )  # fmt: skip
    # the input comes from a file: a program that does not read it cannot block us
    with tempfile.TemporaryFile() as source, tempfile.TemporaryDirectory() as folder:
        source.write(text)
        source.seek(0)
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _LAUNCHER, *map(str, numbers), *words],
            stdin=source,
            stdout=subprocess.PIPE if limits.output_bytes else subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd=folder if bare else None,
            env={} if bare else None,
        )
        try:
            output = _output(process, deadline, limits)
            process.wait(max(0.0, deadline - monotonic()))
        except (subprocess.TimeoutExpired, TimeoutError):
            raise Refused(f"took more than {limits.seconds:g} s") from None
        finally:
            # what it left running as well
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return process.returncode, output


def _output(process: subprocess.Popen[bytes], deadline: float, limits: Confinement) -> bytes:
    output = b""
    if process.stdout is None:
        return output
    with process.stdout as stream:
        while True:
            ready, _, _ = select.select([stream], [], [], max(0.0, deadline - monotonic()))
            if not ready:
                raise TimeoutError
            part = os.read(stream.fileno(), 65536)
            if not part:
                return output
            output += part
            if len(output) > limits.output_bytes:
                raise Refused(f"printed more than {limits.output_bytes // 1024} KiB")


def succeeds(command: str, reply: str, *, seconds: float = COMMAND.seconds) -> bool:
    """Whether a command, split as a shell would, reads `reply` and exits with 0 in the sandbox."""
    limits = replace(COMMAND, seconds=seconds)
    try:
        status, _ = run_confined(shlex.split(command), reply.encode("utf-8", "replace"), limits)
    except (Refused, OSError):
        return False
    return status == 0


def passes(source: str, tests: Sequence[str], *, seconds: float = CODE.seconds) -> bool:
    """Whether every test, a Python expression, is True after `source` ran within the limits."""
    if not tests or "\x00" in source:
        return False
    token = token_hex(16)  # a reply that leaves early, or prints something, does not know it
    script = _TESTS.format(source=source, tests=list(tests), token=token)
    limits = replace(CODE, seconds=seconds)
    try:
        status, output = run_confined(
            (), script.encode("utf-8", "backslashreplace"), limits, bare=True
        )
    except (Refused, OSError):
        return False
    return status == 0 and output.endswith(token.encode())
