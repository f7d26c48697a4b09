"""`adec inspect remembered` shows what was kept, and `--forget` deletes it."""

from __future__ import annotations

import json
from pathlib import Path

from adec.answering.remembered import Remembered
from tests.inspection.traces import look, visible


def test_what_is_remembered_is_shown_and_forgotten(home: Path) -> None:
    assert "nothing is remembered" in look("remembered").out
    path = home / "remembered" / "abc.answers"
    for answer in ([1, 2, 3], [4]):
        Remembered(path).add(answer)
    with path.open("ab") as file:
        file.write(b"\n\x1b[2J rubbish")
    outcome = look("remembered")
    assert outcome.code == 0 and visible(outcome.out) and "abc" in outcome.out
    (file,) = json.loads(look("remembered", "--json").out)["files"]
    assert (file["answers"], file["tokens"], file["trouble"]) == (2, 4, "lines ignored: 1")
    assert file["bytes"] == path.stat().st_size
    assert "abc.answers" in look("remembered", "--forget").out
    assert not path.exists() and "nothing was there" in look("remembered", "--forget").out


def test_forget_is_for_remembered_answers_alone(home: Path) -> None:
    outcome = look("env", "--forget")
    assert outcome.code == 2 and "--forget has no effect" in outcome.err
    assert "here. adec inspect remembered" in outcome.err, "a command keeps its small letter"
