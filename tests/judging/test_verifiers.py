"""Verifiers: the score that a program prints, and the programs that misbehave."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adec.errors import UsageError
from adec.judging.verifiers import CodeVerifier, CommandVerifier, read_score


def python(source: str, seconds: float = 20.0) -> CommandVerifier:
    return CommandVerifier((sys.executable, "-I", "-S", "-c", source), seconds)


def test_a_command_reads_the_answer_and_prints_a_number() -> None:
    verdict = python("import sys; t = sys.stdin.read(); print('too short'); print(len(t) / 4)")(
        "añ\n"
    )
    assert (verdict.score, verdict.feedback) == (0.75, "too short")


def test_a_command_line_is_split_without_a_shell(tmp_path: Path) -> None:
    verifier = CommandVerifier.parse(f"grep -c 'a b;touch {tmp_path}/x'")
    assert verifier.words == ("grep", "-c", f"a b;touch {tmp_path}/x")
    assert CommandVerifier.parse("grep -c plum")("one plum\ntwo plums\n").score == 2
    assert CommandVerifier.parse("grep -c plum")("nothing").score == 0  # though grep exits with 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["", "   ", "/no/such/program", "a 'b"])
def test_commands_that_cannot_be_run_are_refused_at_once(command: str) -> None:
    with pytest.raises(UsageError):
        CommandVerifier.parse(command)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("pass", "nothing"),
        ("print('  \\n\\n')", "nothing"),
        ("print('good')", "no number: 'good'"),
        ("print('1\\ngood')", "no number"),
        ("print('nan')", "no number"),
        ("print('inf')", "no number"),
        ("print('9' * 400)", "no number"),
        ("import sys; sys.stdout.buffer.write(b'\\xff\\xfe\\x1b[2J')", "no number"),
        ("while True: print('x' * 10000)", "printed more than"),
        ("import os; os.close(0); raise SystemExit(3)", "nothing"),
    ],
)
def test_what_gives_no_score(source: str, said: str) -> None:
    verdict = python(source)("x" * 300_000)
    assert verdict.score is None and said in verdict.feedback
    assert len(verdict.feedback) < 200


@pytest.mark.parametrize(
    "source",
    [
        "import time; time.sleep(60)",
        "import os, time; print(1, flush=True); os.close(1); time.sleep(60)",
        "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])",
    ],
)
def test_one_that_hangs_is_ended(source: str) -> None:
    verdict = python(source, seconds=1.5)("x")
    assert verdict.score is None and "took more than 1.5 s" in verdict.feedback


def test_what_it_leaves_running_is_ended_too(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    child = f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    source = (
        "import subprocess, sys, time, os\n"
        f"subprocess.Popen([sys.executable, '-c', {child!r}], stdout=subprocess.DEVNULL)\n"
        f"while not os.path.exists({str(note)!r}) or not open({str(note)!r}).read(): time.sleep(0.05)\n"
        "print(5)"
    )
    assert python(source, seconds=60)("x").score == 5
    pid = int(note.read_text())
    for _ in range(200):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return
        if state == "Z":  # dead, and nobody has asked yet
            return
        time.sleep(0.05)
    os.kill(pid, 9)
    pytest.fail("a child of the verifier lived on")


@given(st.binary(max_size=200))
def test_any_output_is_a_verdict(output: bytes) -> None:
    verdict = read_score(output)
    assert verdict.score is None or abs(verdict.score) < float("inf")


def test_feedback_is_bounded() -> None:
    verdict = read_score(b"word " * 5000 + b"\n3")
    assert verdict.score == 3 and len(verdict.feedback) == 2000


def test_tests_of_code(tmp_path: Path) -> None:
    file = tmp_path / "tests.txt"
    file.write_text("# of double\n\ndouble(2) == 4\ndouble(0) == 0\ndouble('a') == 'aa'\n")
    verifier = CodeVerifier.read(file)
    assert len(verifier.tests) == 3
    assert verifier("```python\ndef double(x):\n    return x * 2\n```").score == 1
    half = verifier("def double(x):\n    return x * x")
    assert (
        half.score == pytest.approx(2 / 3)
        and half.feedback == "This is not true: double('a') == 'aa'"
    )
    assert verifier("no code at all").score == 0


@pytest.mark.parametrize("content", ["", "# nothing\n", "True\n" * 101])
def test_files_without_tests_are_refused(content: str, tmp_path: Path) -> None:
    file = tmp_path / "tests.txt"
    file.write_text(content)
    with pytest.raises(UsageError, match="one expression a line"):
        CodeVerifier.read(file)
    with pytest.raises(UsageError, match="cannot be read"):
        CodeVerifier.read(tmp_path / "none.txt")
