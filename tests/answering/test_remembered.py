"""Answers are kept with consent, in a bounded file of the user's own, whatever happens to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adec.answering import remembered
from adec.answering.choice import Choice
from adec.answering.plan import plan
from adec.answering.remembered import FILE_BYTES, KEPT_TOKENS, Remembered, remembered_files
from adec.answering.session import Question, open_session
from adec.engines.base import OpenOptions
from adec.events.records import End


@pytest.fixture
def kept(tmp_path: Path) -> Remembered:
    return Remembered(tmp_path / "remembered" / "v.answers", 100)


def test_answers_come_back_in_order_from_a_file_for_the_user_alone(kept) -> None:
    assert kept.read().answers == []
    assert kept.add([]) is None and not kept.path.exists()
    for answer in ([1, 2], [3], [99, 0]):
        assert kept.add(answer) is None
    assert kept.read() == remembered.Reading([[1, 2], [3], [99, 0]])
    assert kept.path.stat().st_mode & 0o077 == 0
    assert kept.path.parent.stat().st_mode & 0o077 == 0


@given(st.data())
def test_a_file_cut_anywhere_keeps_what_is_whole_and_takes_more(tmp_path_factory, data) -> None:
    kept = Remembered(tmp_path_factory.mktemp("kept") / "v.answers")
    answers = data.draw(st.lists(st.lists(st.integers(0, 2**17), min_size=1), min_size=1))
    for answer in answers:
        kept.add(answer)
    whole = kept.path.read_bytes()
    kept.path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    left = kept.read().answers
    assert left == answers[: len(left)]
    kept.add([7])
    assert kept.read().answers == [*left, [7]]


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_rubbish_is_ignored_line_by_line(tmp_path_factory, rubbish) -> None:
    kept = Remembered(tmp_path_factory.mktemp("kept") / "v.answers", 100)
    kept.add([1, 2])
    with kept.path.open("ab") as file:
        file.write(b"\n" + b"\n".join(rubbish))
    kept.add([3])
    found = kept.read()
    assert found.answers == [[1, 2], [3]] and found.error is None
    lines = [line for piece in rubbish for line in piece.split(b"\n") if line]
    assert found.spoilt == len(lines)


def test_ids_outside_the_vocabulary_are_ignored(kept) -> None:
    Remembered(kept.path, 1000).add([1, 100])
    kept.add([99])
    found = kept.read()
    assert found.answers == [[99]] and found.spoilt == 1


def test_the_file_is_bounded_and_the_oldest_go(kept) -> None:
    answer = [98] * (KEPT_TOKENS // 8)
    for number in range(60):
        kept.add([number, *answer])
        assert kept.path.stat().st_size <= FILE_BYTES + 3 * len(answer) + 20
    found = kept.read()
    assert found.tokens <= KEPT_TOKENS and found.spoilt == 0
    assert [ids[0] for ids in found.answers] == list(range(53, 60))
    assert kept.path.stat().st_mode & 0o077 == 0


def test_a_folder_or_a_pipe_in_its_place_costs_a_remark_and_nothing_else(kept) -> None:
    kept.path.parent.mkdir()
    os.mkfifo(kept.path)
    assert "is no file" in (kept.read().error or "")
    assert "not remembered" in (kept.add([1]) or "")
    below = Remembered(kept.path / "x")
    assert below.read().answers == [] and "not remembered" in (below.add([1]) or "")


def test_killed_at_any_moment_the_file_stays_readable(tmp_path: Path) -> None:
    path = tmp_path / "v.answers"
    code = (
        "import sys, pathlib; from adec.answering.remembered import Remembered;"
        f"kept = Remembered(pathlib.Path({str(path)!r}));\n"
        "print('ready', flush=True)\n"
        "while True: kept.add([5] * 20000)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None and writer.stdout.readline()
        while not path.exists():
            pass
        writer.send_signal(signal.SIGKILL)
    kept = Remembered(path)
    before = kept.read()
    assert all(answer == [5] * 20000 for answer in before.answers) and before.error is None
    kept.add([6])
    assert kept.read().answers[-1] == [6]


def test_a_session_remembers_only_with_consent(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("ADEC_HOME", str(tmp_path))
    ready = plan(Choice(model="practice:small", strategy="suffix"))
    question = Question("Reverse this list: plum fig pear.", max_tokens=20)

    def ids(*, remember: bool) -> tuple[str, int]:
        with open_session(ready, OpenOptions(context=256), remember=remember) as session:
            text, summary = session.reply(question)
            return text, summary["tokens"]

    text, _ = ids(remember=False)
    assert remembered_files() == []
    assert ids(remember=True)[0] == text
    (path,) = remembered_files()
    (answer,) = Remembered(path).read().answers
    assert ids(remember=True) == (text, len(answer))
    assert Remembered(path).read().answers == [answer, answer]


def test_why_an_answer_is_not_remembered_is_said_after_its_last_line(
    tmp_path: Path, monkeypatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ADEC_HOME", str(tmp_path / "file" / "home"))
    ready = plan(Choice(model="practice:small", strategy="suffix"))
    question = Question("Reverse this list: plum fig pear.", max_tokens=4)
    said: list[object] = []
    with open_session(ready, OpenOptions(context=256), remember=True) as session:
        for event in session.answer(question, remark=said.append):
            said.append(event)
    assert isinstance(said[-2], End) and "not remembered" in str(said[-1])
