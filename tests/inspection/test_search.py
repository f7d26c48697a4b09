"""Pauses and whole answers in a trace: the terminal, one step, the page."""

from __future__ import annotations

import json
from pathlib import Path

from adec.events.records import (
    Attempt,
    Candidate,
    End,
    Event,
    Forward,
    Pause,
    Signal,
    Step,
    Token,
)
from adec.inspection.traces.trace_page import Page
from tests.display.fakes import START
from tests.inspection.test_page import EVIL, page_of
from tests.inspection.traces import look, visible, write_trace


def pause_step(winner: int = 1, text: str = "95. Then") -> Step:
    candidates = (
        Candidate((7, 8, 9), 0.5, -0.75, "71. Then"),
        Candidate((6, 8, 9), 0.25, -0.5, text),
        Candidate((5,), 0.125, float("-inf"), ""),
    )
    forwards = (Forward("large", "write", 1, 1.0), Forward("large", "look_ahead", 3, 3.0))
    return Step(
        "pause", (Token(6, "large", "chosen", 1.25, text="9"), Token(8, "large", text="5")),
        forwards, 1.0, signal=Signal(1.25, 0.5), reason="entropy 1.25 >= 0.50 nats",
        detail=Pause(candidates, winner, 1),
    )  # fmt: skip


def attempt_step(score: float | None, best: bool, round_: int, text: str) -> Step:
    attempt = Attempt(round_, (3, 4), score, best, "two lines differ", 1500.0, text)
    return Step("attempt", (), (Forward("large", "write", 2, 5.0),), 0.5, detail=attempt)


PAUSES: list[Event] = [
    START,
    Step("write", (Token(1, "large", text="It is "),)),
    pause_step(),
    End(),
]
ROUNDS: list[Event] = [
    START,
    attempt_step(0.25, True, 1, "first"),
    attempt_step(0.125, False, 1, "second"),
    attempt_step(0.75, True, 2, "third"),
    Step("write", (Token(3, "large", text="third"),)),
    End(),
]


def test_a_pause_in_the_terminal(tmp_path: Path) -> None:
    path = write_trace(tmp_path / "t.jsonl", PAUSES)
    out = look(path).out
    row = next(line for line in out.splitlines() if "95. Then" in line and "71. Then" in line)
    assert row.split()[:3] == ["2", "1", "1.25"] and row.index("95.") < row.index("71.")
    assert "-0.50" in row and "-0.75" in row
    assert "changed hands" not in out and "look-ahead    3.0 ms" in out
    step = look(path, "--step", 2).out
    won = next(line for line in step.splitlines() if "95. Then" in line)
    assert won.startswith("✓") and "0.250" in won and "-0.5000" in won
    lost = [line for line in step.splitlines() if "71. Then" in line or "#5" in line]
    assert len(lost) == 2 and not any("✓" in line for line in lost)
    assert "adec's own work 1.0 ms, 25 % of them" in step
    data = json.loads(look(path, "--json").out)
    assert data["pause_count"] == 1 and data["hand_over_count"] == 0
    assert data["pauses"][0]["winner"] == 1 and data["pauses"][0]["threshold"] == 0.5


def test_rounds_in_the_terminal(tmp_path: Path) -> None:
    path = write_trace(tmp_path / "t.jsonl", ROUNDS)
    out = look(path).out
    rows = [line.split() for line in out.splitlines() if line.endswith("'two lines differ'")]
    assert [row[:3] for row in rows] == [
        ["1", "1", "0.2500"], ["2", "1", "0.1250"], ["3", "2", "0.7500"]
    ]  # fmt: skip
    assert [s["best_score"] for s in json.loads(look(path, "--json").out)["attempts"]] == [
        0.25, 0.25, 0.75
    ]  # fmt: skip
    step = look(path, "--step", 3).out
    assert "round 2, score 0.7500, the best so far" in step and "the verifier took 1.50 s" in step
    assert "feedback: two lines differ" in step and step.rstrip().endswith("third")


def test_the_page_has_them() -> None:
    html, parts = page_of(PAUSES)
    data = json.loads(parts.scripts[0])
    found = data["steps"][1]["pause"]
    assert found["winner"] == 1 and [c["score"] for c in found["candidates"]][:2] == [-0.75, -0.5]
    assert "95. Then" in parts.text  # in the table of pauses
    assert "paused: winner" in html
    _, parts = page_of(ROUNDS)
    assert "third" in parts.text and "best so far" in parts.text


def test_hostile_pauses_stay_text(tmp_path: Path) -> None:
    """Text that acts on a page or a terminal, a winner that is none, many candidates."""
    many = Pause(tuple(Candidate((i,), 0.1, 0.0, EVIL) for i in range(500)), 10_000)
    events = [
        START, pause_step(9, EVIL), Step("pause", detail=many), Step("pause", detail=Pause((), 0)),
        attempt_step(None, False, 1, EVIL), End(),
    ]  # fmt: skip
    page = Page()
    page.read(events)
    assert page.html.count("<script") == 2 and "<img" not in page.html
    assert "none recorded" in page.html and len(page.html) < 200_000
    assert "9, of 3" in look(write_trace(tmp_path / "t.jsonl", events)).err
    # what a reader lets pass
    fair = [START, pause_step(0, EVIL), attempt_step(None, False, 1, EVIL), End()]
    path = write_trace(tmp_path / "t.jsonl", fair)
    for more in ((), ("--step", 1), ("--step", 2)):
        outcome = look(path, *more)
        assert outcome.code == 0 and visible(outcome.out)
