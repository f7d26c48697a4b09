"""adec as a process: imports, pipes, signals, a terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from adec.display.sanitise import sanitise
from tests.cli.command import start

Pair = tuple[Path, Path]
LONG = ("--threads", 1, "-n", 900, "--ctx", 1024, "hello")


def models(tiny_pair: Pair) -> tuple[object, ...]:
    return ("--small", tiny_pair[0], "--large", tiny_pair[1])


def test_help_imports_no_backend() -> None:
    code = (
        "import sys; from adec.cli.app import app; app(['run', '--help'], standalone_mode=False);"
        "heavy = ('torch', 'transformers', 'llama_cpp', 'numpy', 'msgspec');"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]" and "Usage" in done.stdout


def test_a_gguf_run_imports_neither_torch_nor_rich(tiny_pair: Pair) -> None:
    code = (
        "import sys; from adec.cli.run import run; from pathlib import Path;"
        f"run('hi', model={str(tiny_pair[0])!r}, max_tokens=2, threads=1);"
        "print([m for m in ('torch', 'transformers', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1].endswith("[]"), done.stderr


def test_a_reader_that_leaves_early_is_no_error(tiny_pair: Pair) -> None:
    process = start("run", *models(tiny_pair), *LONG)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.read(1)
    process.stdout.close()
    assert process.wait(60) == 0
    assert process.stderr.read() == b""


def test_a_reader_of_the_help_that_leaves_early_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = start("run", "--help", stdout=writing)
    os.close(writing)
    assert process.wait(60) == 0
    assert process.stderr is not None and process.stderr.read() == b""


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
@pytest.mark.parametrize("what", ["run hi", "--version", "run --help"])
def test_streams_that_were_closed_are_the_null_device(
    tiny_pair: Pair, tmp_path: Path, closed: str, what: str
) -> None:
    trace = tmp_path / "t.jsonl"
    given = ""
    if what == "run hi":
        given = f"--model {tiny_pair[0]} --threads 1 -n 3 --trace {trace}"
    command = f"exec {sys.executable} -m adec {what} {given} {closed}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, timeout=60)
    assert done.returncode == 0
    assert b"adec:" not in done.stderr.replace(b"adec: the answer is cut off", b"")
    assert bool(done.stdout) != ("1>&-" in closed)
    assert not given or '"type": "end"' in trace.read_text().splitlines()[-1]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("full", [1, 2])
def test_an_answer_that_was_written_is_no_failure_whatever_stands_beside_it(
    tiny_pair: Pair, full: int
) -> None:
    given = f"--model {tiny_pair[0]} --threads 1 -n 3 hi {full}>/dev/full"
    command = f"exec {sys.executable} -m adec run {given}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, timeout=60)
    assert done.returncode == (1 if full == 1 else 0)
    assert (done.stderr if full == 1 else done.stdout) != b""


def test_a_pipe_that_nobody_closes_does_not_hang_it(tiny_pair: Pair) -> None:
    reading, writing = os.pipe()
    process = start(
        "run", *models(tiny_pair), "--threads", 1, "-n", 3, "hi",
        stdin=reading, env={"ADEC_STDIN_TIMEOUT": "0.2"},
    )  # fmt: skip
    out, err = process.communicate(timeout=60)
    os.close(reading)
    os.close(writing)
    assert process.returncode == 0 and out
    assert b"nothing came through the pipe" in err


@pytest.mark.parametrize("arguments", [("-",), (), ("-f", "-")])
def test_standard_input_is_the_prompt(tiny_pair: Pair, arguments: tuple[str, ...]) -> None:
    process = start(
        "run", *models(tiny_pair), "--threads", 1, "-n", 1, "--raw", "--jsonl", *arguments,
        stdin=subprocess.PIPE,
    )  # fmt: skip
    out, _ = process.communicate(b"from a pipe\n", timeout=60)
    assert b'"prompt": "from a pipe\\n"' in out


def test_piped_input_stands_before_the_argument(tiny_pair: Pair) -> None:
    process = start(
        "run", *models(tiny_pair), "--threads", 1, "-n", 1, "--raw", "--jsonl", "then this",
        stdin=subprocess.PIPE,
    )  # fmt: skip
    out, _ = process.communicate(b"a text", timeout=60)
    assert b'"prompt": "a text\\n\\nthen this"' in out


def test_no_input_at_all_is_a_clear_error() -> None:
    process = start("run")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2 and err.startswith(b"adec: there is no prompt")


def test_nothing_in_a_pipe_is_an_escape_code(tiny_pair: Pair) -> None:
    process = start("run", *models(tiny_pair), *LONG, env={"FORCE_COLOR": "1"})
    out, err = process.communicate(timeout=120)
    # the tiny model may itself write the byte; adec adds none, and --sanitize removes the model's
    clean = start("run", *models(tiny_pair), "--sanitize", *LONG)
    assert b"\x1b" not in clean.communicate(timeout=120)[0]
    assert b"\x1b[" not in out and err == b""


def read_until(descriptor: int, wanted: bytes, seconds: float = 60) -> bytes:
    seen = b""
    deadline = time.monotonic() + seconds
    while wanted not in seen and time.monotonic() < deadline:
        if select.select([descriptor], [], [], 0.2)[0]:
            try:
                seen += os.read(descriptor, 65536)
            except OSError:
                break
    return seen


def text_of(trace: Path) -> bytes:
    events = [json.loads(line) for line in trace.read_text().splitlines()]
    tokens = [token for event in events for token in event.get("tokens", ())]
    return "".join(token.get("text", "") for token in tokens).encode()


@pytest.mark.parametrize("interrupted", [False, True])
def test_the_text_in_a_pipe_ends_in_a_newline_and_the_trace_has_none_added(
    tiny_pair: Pair, tmp_path: Path, interrupted: bool
) -> None:
    trace = tmp_path / "t.jsonl"
    process = start(
        "run", *models(tiny_pair), "--threads", 1, "-n", 900_000 if interrupted else 7,
        "--trace", trace, "hello",
    )  # fmt: skip
    assert process.stdout is not None
    seen = b""
    if interrupted:
        seen = process.stdout.read(1)
        process.send_signal(signal.SIGINT)
    seen += process.stdout.read()
    assert process.wait(60) == (130 if interrupted else 0)
    text = text_of(trace)
    assert text and seen == text + (b"" if text.endswith(b"\n") else b"\n")


@pytest.mark.parametrize(("more", "term"), [(("--plain",), "xterm"), ((), "dumb")])
def test_plain_text_on_a_terminal_is_not_glued_to_the_closing_line(
    tiny_pair: Pair, tmp_path: Path, more: tuple[str, ...], term: str
) -> None:
    trace = tmp_path / "t.jsonl"
    ours, theirs = pty.openpty()
    process = start(
        "run", *models(tiny_pair), "--threads", 1, "-n", 7, "--trace", trace, *more, "hello",
        stdin=theirs, stdout=theirs, stderr=theirs, env={"TERM": term},
    )  # fmt: skip
    os.close(theirs)
    seen = read_until(ours, b"\0never\0")
    os.close(ours)
    assert process.wait(60) == 0
    lines = seen.decode().split("\r\n")
    closing = next(n for n, line in enumerate(lines) if line.startswith(("ead (", "speculate (")))
    assert "7 tokens" in " ".join(lines[closing:])
    shown = sanitise(text_of(trace).decode()).rstrip("\n")
    assert shown and "\n".join(lines[:closing]).endswith(shown)


def test_ctrl_c_leaves_the_terminal_clean(tiny_pair: Pair, tmp_path: Path) -> None:
    """The first Ctrl-C ends the answer: exit code 130, cursor shown, trace closed by its end."""
    trace = tmp_path / "t.jsonl"
    ours, theirs = pty.openpty()
    process = start(
        "run", *models(tiny_pair), "--threads", 1, "-n", 900_000, "--trace",
        trace, "--set", "ead.up=9", "hello", stdin=theirs, stdout=theirs, stderr=theirs,
        env={"TERM": "xterm-256color"}, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    seen = read_until(ours, b"entropy")
    process.send_signal(signal.SIGINT)
    while chunk := read_until(ours, b"\0never\0", 0.5):
        seen += chunk
    assert process.wait(60) == 130
    os.close(ours)
    assert seen.rfind(b"\x1b[?25h") > seen.rfind(b"\x1b[?25l")
    assert b"Traceback" not in seen
    last = trace.read_text().splitlines()[-1]
    assert '"type": "end"' in last and '"finish": "interrupted"' in last
