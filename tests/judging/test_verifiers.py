"""Verifiers: the score that a program prints, and the programs that misbehave."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adec.errors import UsageError
from adec.judging.verifiers import CodeVerifier, CommandVerifier, read_score


def python(source: str, seconds: float = 20.0) -> CommandVerifier:
    return CommandVerifier((sys.executable, "-I", "-S", "-c", source), seconds)


def test_a_command_reads_the_answer_and_prints_a_number() -> None:
    rating = python("import sys; t = sys.stdin.read(); print('too short'); print(len(t) / 4)")(
        "añ\n"
    )
    assert (rating.score, rating.feedback) == (0.75, "too short")


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
    rating = python(source)("x" * 300_000)
    assert rating.score is None and said in rating.feedback
    assert len(rating.feedback) < 200


@pytest.mark.parametrize(
    "source",
    [
        "import time; time.sleep(60)",
        "import os, time; print(1, flush=True); os.close(1); time.sleep(60)",
        "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; "
        "time.sleep(60)'])",
    ],
)
def test_one_that_hangs_is_ended(source: str) -> None:
    rating = python(source, seconds=1.5)("x")
    assert rating.score is None and "took more than 1.5 s" in rating.feedback


@given(st.binary(max_size=200))
def test_any_output_is_a_verdict(output: bytes) -> None:
    rating = read_score(output)
    assert rating.score is None or abs(rating.score) < float("inf")


def test_feedback_is_bounded() -> None:
    rating = read_score(b"word " * 5000 + b"\n3")
    assert rating.score == 3 and len(rating.feedback) == 2000


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
