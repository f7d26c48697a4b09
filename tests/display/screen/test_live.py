"""The live display on a real pseudo-terminal: thread, signals, what is left behind."""

from __future__ import annotations

import io
import os
import pty
import select
import signal
import sys
import termios
import time
from pathlib import Path

import pyte
import pytest

from adec.display.screen.live import LiveDisplay
from tests.display.fakes import START, events_of, steps_of
from tests.display.terminal import Screen, terminal

ROOT = Path(__file__).parents[3]

PROGRAM = """
import sys, time
from adec.display.screen.live import LiveDisplay
from tests.display.fakes import START, steps_of
try:
    with LiveDisplay(sys.stdout, colour=True) as display:
        display.show(START)
        for step in steps_of("some words that come slowly " * 2000):
            display.show(step)
            time.sleep(0.01)
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_a_run() -> None:
    with terminal(50, 12) as term:
        with LiveDisplay(term.out, colour=True) as display:
            for event in events_of("many words\n" * 30):
                display.show(event)
                time.sleep(0.003)
        term.close()
        assert term.text() == "many words\n" * 30
        assert b"tok/s" in term.raw


def test_an_exception_leaves_the_terminal_in_order() -> None:
    with terminal(60, 12) as term:
        with pytest.raises(RuntimeError), LiveDisplay(term.out, colour=True) as display:
            display.show(START)
            for step in steps_of("partial text"):
                display.show(step)
            time.sleep(0.15)
            raise RuntimeError
        term.close()
        assert term.text() == "partial text\n"
        assert not term.screen.cursor.hidden
        assert (term.screen.cursor.y, term.screen.cursor.x) == (1, 0)


class Gone(io.StringIO):
    """A terminal that was closed."""

    def write(self, text: str) -> int:
        raise OSError(5, "Input/output error")


def test_a_terminal_that_goes_away_is_an_error() -> None:
    with pytest.raises(OSError), LiveDisplay(Gone(), colour=True) as display:
        display.show(START)
        for step in steps_of("text " * 100):
            display.show(step)
            time.sleep(0.02)


def read_until(master: int, what: bytes, seconds: float = 10) -> bytes:
    raw, end = b"", time.monotonic() + seconds
    while what not in raw and time.monotonic() < end:
        try:
            if select.select([master], [], [], 1)[0]:
                raw += os.read(master, 65536)
        except OSError:
            break
    return raw


def test_ctrl_c_ctrl_z_and_keys_leave_the_terminal_clean() -> None:
    pid, master = pty.fork()
    if pid == 0:  # pragma: no cover - the child
        os.chdir(ROOT)
        os.environ["TERM"] = "xterm"
        os.execv(sys.executable, [sys.executable, "-c", PROGRAM])
    try:
        before = termios.tcgetattr(master)[3] & termios.ECHO
        raw = read_until(master, b"tok/s")
        os.write(master, b"keys typed\n")
        os.write(master, b"\x1a")
        _, status = os.waitpid(pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        assert termios.tcgetattr(master)[3] & termios.ECHO == before
        os.kill(pid, signal.SIGCONT)
        raw += read_until(master, b"slowly")
        os.write(master, b"\x03")
        raw += read_until(master, b"no such bytes")
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 130
    finally:
        os.close(master)
    screen = Screen(80, 24, history=1000)
    pyte.ByteStream(screen).feed(raw)
    text = screen.text()
    assert text.startswith("some words that come slowly some")
    assert "keys typed" not in text and "tok/s" not in text and "╭" not in text
    assert not screen.cursor.hidden
