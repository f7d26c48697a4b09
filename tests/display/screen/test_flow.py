"""What is held back at the end of a row, and where the cursor may be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adec.display.marks import LARGE, SMALL
from adec.display.screen.flow import Flow


def take(flow: Flow, text: str) -> str:
    return "".join(part for _, part in flow.take([(SMALL, text)]))


def test_the_character_that_fills_a_row_waits() -> None:
    flow = Flow(5)
    assert take(flow, "abcde") == "abcd"
    assert take(flow, "\u0301") == ""
    assert take(flow, "f") == "e\u0301f"


def test_a_wide_character_fills_a_row_or_goes_to_the_next() -> None:
    flow = Flow(5)
    assert take(flow, "abc字") == "abc"
    assert take(flow, "def") == "字def"
    assert take(flow, "g字") == "g字"  # four of five cells: the character stands in the next row


def test_both_columns_are_followed_after_a_resize() -> None:
    flow = Flow(10)
    take(flow, "x" * 13)  # column 3, rewrapped at 8 columns: 5
    flow.resize(8)
    assert take(flow, "abc") == "ab"  # full if the terminal rewraps
    assert take(flow, "d") == "cd"
    assert take(flow, "e") == ""  # full if it does not
    assert take(flow, "\n" + "x" * 7) == "e\n" + "x" * 7  # certain again
    assert take(flow, "x") == ""


def test_a_skin_tone_may_take_no_room_or_two_cells() -> None:
    flow = Flow(6)
    assert take(flow, "👍🏽") == "👍🏽"
    assert take(flow, "ab") == "a"  # the row is full if the tone took two cells
    assert take(flow, "cd") == "bc"  # or full now


def test_newlines_at_the_end_wait() -> None:
    flow = Flow(80)
    assert take(flow, "a\n\n") == "a"
    assert take(flow, "b\n") == "\n\nb"
    assert flow.finish()[-1][1] == "\n"
    assert Flow(80).finish() == []


@given(st.lists(st.text("ab字\u0301🙂\n", max_size=9), max_size=9), st.integers(4, 12))
def test_nothing_is_lost_and_no_row_rests_full(pieces: list[str], width: int) -> None:
    flow, out, column = Flow(width), "", 0
    marks = [SMALL, LARGE]
    for number, piece in enumerate(pieces):
        for _, text in flow.take([(marks[number % 2], piece)]):
            out += text
            for character in text:
                cells = 0 if character == "\u0301" else 2 if character in "字🙂" else 1
                column = cells if column + cells > width else column + cells
                column = 0 if character == "\n" else column
        assert column < width
    out += "".join(text for _, text in flow.finish())
    assert out.rstrip("\n") == "".join(pieces).rstrip("\n")
