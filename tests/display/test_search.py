"""Pauses and rounds in the panel, the marks and the closing lines, with hostile text in all."""

from __future__ import annotations

import re
from collections import Counter
from io import StringIO

import pyte
import pytest
from msgspec.structs import replace
from rich.console import Console

from adec.answering.text import TextStream
from adec.display.marks import CHOSEN, mark_of
from adec.display.screen.panel import PanelState
from adec.display.screen.picture import Picture
from adec.display.summary_line import summary_lines
from adec.engines.vocabularies.vocabulary import Vocabulary
from adec.events.records import Attempt, Candidate, Forward, Pause, Signal, Step, Token
from adec.events.tally import Tally
from tests.display.fakes import START

PAUSE = Step(
    "pause",
    (Token(1, "large", "chosen", text=" 176"), Token(2, "large", text=".")),
    (Forward("large", "look_ahead", 3, 2.0), Forward("large", "look_ahead", 3, 2.0)),
    signal=Signal(1.25, 1.0),
    detail=Pause(
        (Candidate((3, 4), 0.5, -0.84, " 175."), Candidate((1, 2), 0.4, -0.21, " 176.")), 1, 1
    ),
)


def rows_of(*steps: Step, width: int = 80, height: int = 24) -> list[str]:
    now = 0.0
    screen = pyte.Screen(width, height)
    picture = Picture((width, height), colour=True, clock=lambda: now)
    picture.start(replace(START, strategy="adadec"))
    for step in steps:
        picture.add(step)
    now = 9.0
    pyte.Stream(screen).feed(picture.frame((width, height)).replace("\n", "\r\n"))
    return [row.rstrip() for row in screen.display]


def test_a_pause_shows_its_candidates_the_winner_first() -> None:
    rows = rows_of(PAUSE)
    assert rows[0] == " 176."
    assert any("last pause “ 176.” -0.21 over “ 175.” -0.84" in row for row in rows)
    assert any("1.25, threshold 1.00 nats" in row for row in rows)
    assert any("chosen" in row for row in rows)
    assert mark_of(PAUSE.tokens[0]) is CHOSEN and mark_of(PAUSE.tokens[1]) is not CHOSEN


def test_hostile_candidates_stay_in_their_row() -> None:
    wild = "a\x1b[2J\r\n\t\u202e漢" * 30
    assert isinstance(PAUSE.detail, Pause)
    candidates = tuple(replace(one, text=wild) for one in PAUSE.detail.candidates)
    for width in (80, 40, 25):
        step = replace(PAUSE, detail=replace(PAUSE.detail, candidates=candidates))
        rows = rows_of(step, width=width)
        assert sum("last pause" in row for row in rows) == 1
        assert rows[0] == " 176."  # nothing was cleared
        assert [row[0] for row in rows[1:8] if row] == ["╭", "│", "│", "│", "│", "╰"]


def test_rounds_show_the_best_so_far() -> None:
    good = Step("attempt", detail=Attempt(1, (1,), 0.75, True, text="Answer: 5."))
    bad = Step("attempt", detail=Attempt(2, (2,), None, False, "the verifier printed nothing"))
    rows = rows_of(good, bad)
    assert any("best so far, 0.75: “Answer: 5.”" in row for row in rows)
    assert any("last answer: round 2, not scored" in row for row in rows)


def test_the_closing_lines() -> None:
    tally = Tally("adadec", "approximate")
    tally.add(PAUSE, 0.0)
    tally.add(Step("write", (Token(1, "large"),)), 0.0)
    summary = tally.summary(1.0)
    assert (summary["pauses"], summary["chosen"], summary["looked_ahead"]) == (1, 1, 6)
    assert summary["look_ahead_ms"] == 4 and summary["large_fed"] == 6
    assert summary_lines(summary)[-1] == (
        "1 pause, 1 won by another token than the likeliest · looked ahead 6 tokens · "
        "4.0 ms a pause, adec's own work 0.0 % of its forwards"
    )
    tally = Tally("iad", "approximate")
    for number, (score, best) in enumerate(
        ((0.5, True), (None, False), (0.75, True), (0.1, False))
    ):
        attempt = Attempt(1 + number // 2, (1,), score, best)
        tally.add(Step("attempt", detail=attempt), 0.0)
    assert summary_lines(tally.summary(1.0))[-1] == "4 answers in 2 rounds · best score 0.75"


@pytest.mark.parametrize(
    ("models", "sources", "bar", "words"),
    [
        (["large"], ["large"] * 4, None, None),
        (["large"], ["ngram"] + ["large"] * 3, "ngram ░█ large 75 %", "ngram wrote 1 (25 %)"),
        (["large", "small"], ["large"] * 4, "small █ large 100 %", None),
        (
            ["large", "small"],
            ["small"] * 4 + ["\x1b[2J"] * 2 + ["large"] * 2,
            "small + ␛[2J ░▒█ large 25 %",
            "␛[2J wrote 2 (25 %)",
        ),
        (["large"], ["a", "b", "c", "large"], "3 drafters ░▒▓█ large 25 %", "b wrote 1 (25 %)"),
    ],
)
def test_who_wrote_how_much_is_shown_by_source(
    models: list[str], sources: list[str], bar: str | None, words: str | None
) -> None:
    start = replace(START, strategy="lookup", models={name: {} for name in models})
    tokens = tuple(Token(1, source, text="x") for source in sources)
    state = PanelState(start)
    state.add(Step("wake", tokens, (Forward("large", "verify", 9, 5.0),), drafted=3), 1.0)
    row = state.rows(Console(file=StringIO(), color_system=None), 100, 20)[2]
    assert "small" in models or "small" not in row
    lengths = [len(run[0]) for run in re.finditer("░+|▒+|▓+|█+", row)]
    if bar is None:
        assert not lengths
    else:
        assert bar in re.sub(r"([░▒▓█])\1+", r"\1", row)
        shares = [count / len(sources) for count in Counter(sources).values()]
        assert lengths == [pytest.approx(share * sum(lengths), abs=1) for share in shares]
    lines = "\n".join(summary_lines(state.tally.summary(1.0)))
    assert lines.isprintable() or lines.count("\n") == 1
    assert lines.count(" wrote ") == 1 + sum(
        source not in ("large", "small") for source in set(sources)
    )
    assert words is None or words in lines


def test_candidates_get_their_texts_where_ids_become_text() -> None:
    vocabulary = Vocabulary("gpt2", tuple(bytes([value]) for value in range(256)))
    ids = list("añ".encode())
    step = Step(
        "pause",
        (Token(ids[0], "large"),),
        detail=Pause((Candidate(tuple(ids), 0.5, -1.0), Candidate(tuple(ids[:2]), 0.5, -2.0)), 0),
    )
    (done,) = TextStream(vocabulary).read([step])
    assert isinstance(done.detail, Pause)
    assert [one.text for one in done.detail.candidates] == ["añ", "a\ufffd"]
    assert done.tokens[0].text == "a"


def test_answers_that_compete_are_counted_before_one_is_committed() -> None:
    forward = Forward("large", "write", 40, 5.0)
    first = Step("attempt", (), (forward,), detail=Attempt(1, (1,), 0.5, True, text="a"))
    second = Step("attempt", (), (forward,), detail=Attempt(2, (2,), 0.25, False, text="b"))
    rows = rows_of(first, second)
    assert any("2 answers in 2 rounds · 80 tokens read" in row for row in rows)
    assert not any("large 0 %" in row for row in rows)
