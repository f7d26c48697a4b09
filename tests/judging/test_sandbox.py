"""The limits of the sandbox, each for all that runs in it: verifiers, a bench's commands, tests of
code.
"""

from __future__ import annotations

import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from secrets import token_hex

import pytest

from adec.errors import AdecError
from adec.judging.sandbox import CODE, Confinement, Refused, passes, run_confined, succeeds
from adec.judging.verifiers import CommandVerifier

ENOUGH = 30.0


def python(source: str) -> tuple[str, ...]:
    return (sys.executable, "-I", "-S", "-c", source)


def by_verifier(source: str, seconds: float) -> bool:
    return CommandVerifier(python(f"{source}\nprint(1)"), seconds)("x").score == 1


def by_command(source: str, seconds: float) -> bool:
    return succeeds(shlex.join(python(source)), "x", seconds=seconds)


def by_tests_of_code(source: str, seconds: float) -> bool:
    return passes(source, ["True"], seconds=seconds)


User = Callable[[str, float], bool]
"""Whether a Python program comes to its end within the limits."""
every_user = pytest.mark.parametrize("ends", [by_verifier, by_command, by_tests_of_code])


@every_user
def test_a_program_within_the_limits_comes_to_its_end(ends: User) -> None:
    assert ends("x = bytearray(100 << 20); print('y' * 1000)", ENOUGH)


@every_user
def test_memory(ends: User) -> None:
    assert not ends("x = bytearray(3 << 30)", ENOUGH)


@every_user
@pytest.mark.parametrize("source", ["while True: pass", "import time; time.sleep(600)"])
def test_time(ends: User, source: str) -> None:
    began = time.monotonic()
    assert not ends(source, 1.0)
    assert time.monotonic() - began < ENOUGH


def test_too_much_of_the_processor_is_told_from_a_failure() -> None:
    with pytest.raises(Refused, match="took more than 1 s"):
        run_confined((), b"while True: pass", Confinement(1.0), bare=True)


STOPPED = """
import os, signal, time
if not os.fork():
    time.sleep(2)
    os.kill(os.getppid(), signal.SIGCONT)
    os._exit(0)
os.kill(os.getpid(), signal.SIGSTOP)
"""


@every_user
def test_a_program_that_the_machine_lets_wait_is_not_late(ends: User) -> None:
    assert ends(STOPPED, 1.0)


def test_what_python_leaves_to_chance_is_the_same_in_every_run() -> None:
    source = b"print({'a', 'bc', 'def', 'ghij', 'klmno', 'pqrstu', 'v'})"
    said = {run_confined((), source, CODE, bare=True) for _ in range(5)}
    # by chance all five were alike once in 5040 ** 4 times
    assert len(said) == 1 and next(iter(said))[0] == 0


def test_a_reply_that_nobody_could_run_is_not_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*words: object, **options: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", full)
    for ask in (lambda: passes("x = 1", ["True"]), lambda: succeeds("true", "x")):
        with pytest.raises(AdecError, match="cannot be judged: no process"):
            ask()


@every_user
def test_network(ends: User) -> None:
    source = "import socket; socket.create_connection(('127.0.0.1', {}), 5).close()"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        socket.create_connection(("127.0.0.1", port), 5).close()
        if not cut_off():
            pytest.skip("this system lets no process without rights leave the network")
        assert not ends(source.format(port), ENOUGH)


def cut_off() -> bool:
    """Whether a process may take a network namespace of its own here."""
    ask = "import ctypes, sys; sys.exit(ctypes.CDLL(None).unshare(0x50000000) != 0)"
    return subprocess.run(python(ask), check=False).returncode == 0


@every_user
def test_files(ends: User, tmp_path: Path) -> None:
    path = tmp_path / "large"
    assert not ends(f"open({str(path)!r}, 'wb').write(bytes(20 << 20))", ENOUGH)
    assert not path.exists() or path.stat().st_size <= 16 << 20


@every_user
def test_open_files(ends: User) -> None:
    assert not ends("import os; kept = [open(os.devnull) for _ in range(300)]", ENOUGH)


@every_user
def test_output(ends: User) -> None:
    """Too much is refused where it counts; a command's, which does not, takes no memory of ours."""
    assert ends("print('x' * 1_000_000)", ENOUGH) is (ends is by_command)
    assert not ends("while True: print('x' * 100_000)", 1.0)


@every_user
def test_processes_left_behind(ends: User) -> None:
    token = token_hex(16)
    child = [sys.executable, "-c", "import time; time.sleep(600)", token]
    source = f"import subprocess; subprocess.Popen({child!r}, stdout=subprocess.DEVNULL)"
    assert ends(source, ENOUGH)
    for _ in range(200):
        if not alive(token):
            return
        time.sleep(0.05)
    pytest.fail("a process outlived the one that started it")


def alive(word: str) -> bool:
    """Whether a process with this word on its command line runs (Linux); zombies have none."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word.encode() in path.read_bytes():
                return True
        except OSError:
            pass
    return False


def test_code_sees_no_environment_and_an_empty_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADEC_SECRET", "x")
    assert passes("import os", ["'ADEC_SECRET' not in os.environ", "os.listdir('.') == []"])


def test_input_that_nobody_reads_blocks_nobody() -> None:
    status, output = run_confined(("true",), b"x" * 10_000_000, Confinement(ENOUGH))
    assert (status, output) == (0, b"")


def test_the_reason_is_told() -> None:
    with pytest.raises(Refused, match=r"took more than 0\.5 s"):
        run_confined(("sleep", "600"), b"", Confinement(0.5))
    with pytest.raises(Refused, match="printed more than 1 KiB"):
        run_confined(("cat",), b"x" * 2000, Confinement(ENOUGH, output_bytes=1024))
    assert run_confined(("/no/such/program",), b"", CODE)[0] == 127
