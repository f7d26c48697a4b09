"""Runs commands and code that judge a reply, with limits on time, memory, files and output.

The limits hold for everything that the process starts. On Linux it also has no network, where the
system lets a process without rights give it up. This keeps an honest but wrong program from
hanging or filling the machine. It is no prison for a program written to break out.

A verdict must not depend on what else the machine does. So it is processor time that is limited;
wall time counts only while a program sleeps, and nothing that Python leaves to chance differs from
run to run.
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
from pathlib import Path
from secrets import token_hex
from time import monotonic

from adec.errors import AdecError

NOT_STARTED = 127
"""Exit status of a command that could not be started, as in a shell."""
PATIENCE = 20
"""Times its seconds that a program may take on a machine too busy to run it."""
LOOK = 0.1
"""Seconds between looks at a program that takes long."""
IDLE_SECONDS = 0.5
"""A program that slept at every look for so long does not wait for a processor."""

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
        # past the lower limit of processor time a signal says why it ends
        pair = (most, most + 1) if name == "CPU" else (most, most)
        resource.setrlimit(getattr(resource, "RLIMIT_" + name), pair)
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
    """Processor time of each process, rounded to seconds, and wall time of one that sleeps."""
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
    numbers = (
        limits.memory_bytes, max(1, round(limits.seconds)), limits.file_bytes, limits.open_files
    )  # fmt: skip
    # the order of a set of texts is part of what bare Python says: it is the same in every run
    alone = ("-P", "-s") if bare else ("-I",)
    # the input comes from a file: a program that does not read it cannot block us
    with tempfile.TemporaryFile() as source, tempfile.TemporaryDirectory() as folder:
        source.write(text)
        source.seek(0)
        process = subprocess.Popen(
            [sys.executable, *alone, "-S", "-c", _LAUNCHER, *map(str, numbers), *words],
            stdin=source,
            stdout=subprocess.PIPE if limits.output_bytes else subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd=folder if bare else None,
            env={"PYTHONHASHSEED": "0"} if bare else None,
        )
        wait = _Wait(process.pid, limits.seconds)
        try:
            output = _output(process, wait, limits)
            while process.poll() is None:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(LOOK)
                wait.check()
        finally:
            # what it left running as well
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.returncode == -signal.SIGXCPU:
        raise Refused(f"took more than {limits.seconds:g} s")
    return process.returncode, output


class _Wait:
    """Waits for a program, and knows whether it sleeps or the machine lets it wait."""

    def __init__(self, session: int, seconds: float) -> None:
        self._session = session
        self._seconds = seconds
        self._waited = 0.0
        self._looked = monotonic()
        self._idle = 0.0

    def check(self) -> None:
        """Raise Refused when it took too long. Called after every wait, of `LOOK` at most."""
        now = monotonic()
        # after a pause of this process, or of the machine, the clock jumps
        passed = min(now - self._looked, 2 * LOOK)
        self._looked = now
        self._waited += passed
        if self._waited <= self._seconds:
            return
        self._idle = self._idle + passed if _sleeps(self._session) else 0.0
        if self._idle > IDLE_SECONDS or self._waited > PATIENCE * self._seconds:
            raise Refused(f"took more than {self._seconds:g} s")


def _sleeps(session: int) -> bool:
    """Whether no process of a session wants a processor; where nobody says, none does."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            # pid (name) state parent group session; a name may hold anything
            state, _, _, of = path.read_text("ascii", "replace").rpartition(")")[2].split()[:4]
        except (OSError, ValueError):
            continue
        if of == str(session) and state not in "SIZX":
            return False
    return True


def _output(process: subprocess.Popen[bytes], wait: _Wait, limits: Confinement) -> bytes:
    output = b""
    if process.stdout is None:
        return output
    with process.stdout as stream:
        while True:
            ready, _, _ = select.select([stream], [], [], LOOK)
            wait.check()
            if not ready:
                continue
            part = os.read(stream.fileno(), 65536)
            if not part:
                return output
            output += part
            if len(output) > limits.output_bytes:
                raise Refused(f"printed more than {limits.output_bytes // 1024} KiB")


def succeeds(command: str, reply: str, *, seconds: float = COMMAND.seconds) -> bool:
    """Whether a command, split as a shell would, reads `reply` and exits with 0 in the sandbox.

    Raises AdecError when this machine lets no process be started.
    """
    limits = replace(COMMAND, seconds=seconds)
    try:
        status, _ = run_confined(shlex.split(command), reply.encode("utf-8", "replace"), limits)
    except Refused:
        return False
    except OSError as error:
        raise _no_process(error) from error
    return status == 0


def passes(source: str, tests: Sequence[str], *, seconds: float = CODE.seconds) -> bool:
    """Whether every test, a Python expression, is True after `source` ran within the limits.

    Raises AdecError when this machine lets no process be started.
    """
    if not tests or "\x00" in source:
        return False
    token = token_hex(16)  # a reply that leaves early, or prints something, does not know it
    script = _TESTS.format(source=source, tests=list(tests), token=token)
    limits = replace(CODE, seconds=seconds)
    try:
        status, output = run_confined(
            (), script.encode("utf-8", "backslashreplace"), limits, bare=True
        )
    except Refused:
        return False
    except OSError as error:
        raise _no_process(error) from error
    return status == 0 and output.endswith(token.encode())


def _no_process(error: OSError) -> AdecError:
    """A reply that nobody ran is neither right nor wrong."""
    return AdecError(
        f"a reply cannot be judged: no process could be started ({error.strerror or error})",
        hint="free memory or disk space, and try again",
    )
