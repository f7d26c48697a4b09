"""What the live display writes, on an emulator: all of the text, exactly once, at any size."""

from __future__ import annotations

import random
import re
import unicodedata

import msgspec
import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyte.screens import wcwidth

from adec.display.sanitise import sanitise
from adec.display.screen.picture import Picture
from adec.events.records import End, Start, Step, ThreadChange, Token
from tests.display.fakes import START, events_of, steps_of
from tests.display.terminal import Screen

WORDS = ["the", "model", "漢字かな", "🙂", "naïve", "x", "e\u0301", "12,000", "ﬁ", "한국어", "🎉🎉"]


def prose(length: int, seed: int = 0) -> str:
    rng, out = random.Random(seed), ""
    while len(out) < length:
        out += rng.choice(WORDS) + rng.choice([" ", " ", " ", ". ", "\n", "\n\n"])
    return out.strip() + "!"


TEXTS = {
    "prose": prose(500),
    "no spaces": "x" * 250 + "字" * 121,
    "many lines": "\n".join(f"line {i}" for i in range(40)),
    "exact widths": "\n".join("y" * n for n in (19, 20, 21, 39, 40, 41, 79, 80, 81, 160)),
    "tabs": "a\tb\tc\n" + "def\tghi\n" * 5 + "\t\t\tz" * 9,
    "hostile": (
        "a\x1b[2J\x1b]0;title\x07b\rc\x9b1mD\u202eE\u200bF👨\u200d👩\u200d👧G❤\ufe0fH\x7f\x08I"
        "[bold]no markup[/bold] :smile:"
    ),
}


def seen(text: str) -> str:
    """What must stand on the screen in the end."""
    text = unicodedata.normalize("NFC", sanitise(text))  # as the emulator has it
    return "\n".join(expanded(line).rstrip() for line in text.split("\n")) + "\n"


def expanded(line: str) -> str:
    """`str.expandtabs`, but by cells."""
    out, cells = "", 0
    for character in line:
        if character == "\t":
            character, width = " " * (8 - cells % 8), 8 - cells % 8
        else:
            width = wcwidth(character)
        out, cells = out + character, cells + width
    return out


class Stage:
    """A picture on an emulated terminal; time passes only when it is told to."""

    def __init__(
        self, columns: int, lines: int, *, rewraps: bool = True, colour: bool = True
    ) -> None:
        self.now = 0.0
        self.screen = Screen(columns, lines, history=100_000)
        self.screen.rewraps = rewraps
        self.picture = Picture((columns, lines), colour=colour, clock=lambda: self.now)
        self.raw = ""
        self._feed = pyte.Stream(self.screen).feed

    def write(self, text: str) -> None:
        self.raw += text
        self._feed(text.replace("\n", "\r\n"))

    def frame(self, seconds: float = 0.3) -> None:
        self.now += seconds
        self.write(self.picture.frame((self.screen.columns, self.screen.lines)))

    def play(self, text: str, *, seed: int = 0, every: int = 1) -> None:
        for number, event in enumerate(events_of(text, seed)):
            if isinstance(event, Start):
                self.picture.start(event)
            elif isinstance(event, End):
                self.write(self.picture.finish())
            elif isinstance(event, Step):
                self.picture.add(event)
                if number % every == 0:
                    self.frame()


@pytest.mark.parametrize("size", [(80, 24), (40, 12), (20, 5)])
@pytest.mark.parametrize("name", TEXTS)
def test_all_of_the_text_once(name: str, size: tuple[int, int]) -> None:
    stage = Stage(*size)
    stage.play(TEXTS[name])
    assert stage.screen.text() == seen(TEXTS[name])
    assert "…" not in stage.raw
    assert not stage.screen.cursor.hidden


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.sampled_from([*"ab 字🙂\n\t\u200d\x1b", "e\u0301"]), max_size=70).map("".join),
    st.integers(20, 30),
    st.integers(1, 9),
    st.integers(1, 4),
    st.integers(0, 9),
)
def test_any_text(text: str, columns: int, lines: int, every: int, seed: int) -> None:
    stage = Stage(columns, lines)
    text = "x" + text.strip() + "y"
    stage.play(text, every=every, seed=seed)
    assert stage.screen.text() == seen(text)


@pytest.mark.parametrize("rewraps", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_resizes_in_the_middle(seed: int, rewraps: bool) -> None:
    rng, text = random.Random(seed), prose(400, seed)
    columns = 30
    stage = Stage(columns, 12, rewraps=rewraps)
    stage.picture.start(START)
    for number, step in enumerate(steps_of(text, seed)):
        stage.picture.add(step)
        stage.frame(rng.choice([0.05, 0.3]))
        if number % 9 == 5:
            # a terminal that does not rewrap loses what a narrower window cuts off: only widen it
            columns = rng.randint(4, 60) if rewraps else columns + 5
            stage.screen.resize(rng.randint(3, 40), columns)
    stage.write(stage.picture.finish())
    assert stage.screen.text() == seen(text)


def test_a_narrower_window_that_cuts_keeps_later_text() -> None:
    stage = Stage(60, 12, rewraps=False)
    stage.picture.start(START)
    for number, step in enumerate(steps_of("word " * 60)):
        stage.picture.add(step)
        stage.frame()
        if number == 20:
            before = stage.screen.text()
            stage.screen.resize(12, 24)
    stage.write(stage.picture.finish())
    assert before.startswith("word word")
    assert "word word word word wor" in stage.screen.text()
    assert "tok/s" not in stage.screen.text()


def test_panel_is_under_the_text_and_goes_away() -> None:
    stage = Stage(80, 24)
    stage.picture.start(START)
    for step in steps_of("some words of an answer " * 4):
        stage.picture.add(step)
        stage.frame()
    shown = stage.screen.display
    assert shown[0].startswith("some words")
    panel = "\n".join(shown[2:10])
    assert "ead · approximate: no promise" in panel
    assert re.search(r"entropy +[▁-█]+ +\d\.\d\d, threshold 0\.60 nats", panel)
    assert re.search(r"small ░+█+ large \d+ % · [\d.]+ tok/s · \d+ tokens · (saved|lost) \d", panel)
    assert "last hand-over: entropy" in panel
    assert "small  confirmed  large  corrected  bonus" in panel
    assert "tokens a large forward" in panel
    assert not "".join(shown[10:]).strip()
    stage.write(stage.picture.finish())
    assert "tok/s" not in stage.screen.text()


def test_one_model_hands_nothing_over() -> None:
    alone = msgspec.structs.replace(START, models={"large": START.models["large"]})
    stage = Stage(80, 24)
    stage.picture.start(alone)
    stage.picture.add(Step("write", (Token(1, "large", text="one "),)))
    stage.frame()
    shown = stage.screen.text()
    assert "tok/s" in shown and "last hand-over" not in shown and "none yet" not in shown
    stage.picture.add(Step("write", (Token(1, "large", text="two"),), reason="drafts stopped"))
    stage.frame()
    assert "lately: drafts stopped" in stage.screen.text()
    assert "last hand-over" not in stage.screen.text()


def test_the_legend_stays_on_a_small_screen() -> None:
    for lines, columns in ((5, 20), (6, 80), (11, 30), (3, 20)):
        stage = Stage(columns, lines)
        stage.picture.start(START)
        for step in steps_of("words " * 30):
            stage.picture.add(step)
        stage.frame()
        assert any("small" in row and "confirmed" in row for row in stage.screen.display)
        assert any("words" in row for row in stage.screen.display)


def test_marks_without_colour() -> None:
    stage = Stage(80, 24, colour=False)
    stage.play("word " * 40)
    assert not re.search(r"\x1b\[[\d;]*3\dm", stage.raw)
    for sign in ("3", "4", "1;4", "1"):
        assert f"\x1b[{sign}m" in stage.raw


def test_trailing_newlines_become_one() -> None:
    stage = Stage(60, 12)
    stage.play("a\n\n\n")
    assert stage.raw.count("\n") == 1


def test_a_short_prompt_shows_no_progress_and_a_long_one_does() -> None:
    stage = Stage(60, 12)
    stage.picture.start(START)
    stage.picture.add(next(steps_of("")))
    stage.frame(0.2)
    assert stage.raw == ""
    stage.frame(0.2)
    assert "small reads the prompt ████" in "\n".join(stage.screen.display)


def test_a_frame_costs_the_same_after_much_text() -> None:
    """A frame writes the new text and the panel, nothing older."""
    stage = Stage(80, 24)
    stage.play("word " * 20)
    sizes = []
    for _ in range(2):
        stage.picture.start(START)
        for step in steps_of("word " * 3000):
            stage.picture.add(step)
        stage.picture.frame((80, 24))
        stage.picture.add(list(steps_of("word"))[-1])
        stage.now += 1
        sizes.append(len(stage.picture.frame((80, 24))))
    assert max(sizes) < 6000


def test_a_change_of_threads_is_shown_and_a_yardstick_is_not_compared_with_itself() -> None:
    alone = msgspec.structs.replace(START, models={"large": START.models["large"]}, yardstick=True)
    stage = Stage(80, 24)
    stage.picture.start(alone)
    change = ThreadChange(2, 1, "machine in use", "large")
    stage.picture.add(Step("write", (Token(1, "large", text="one "),), threads=(change,)))
    stage.frame()
    assert "threads 2 -> 1: machine in use" in stage.screen.text()
    assert "large: threads" not in stage.screen.text()
    assert "saving" not in stage.screen.text()
    stage = Stage(80, 24)
    stage.picture.start(START)
    stage.picture.add(Step("write", (Token(1, "large", text="one "),), threads=(change,)))
    stage.frame()
    assert "large: threads 2 -> 1" in stage.screen.text() and "saving" in stage.screen.text()
