"""The canvas on a terminal: masks as dots, words where they are filled, figures below."""

from __future__ import annotations

from msgspec.structs import replace

from adec.display.marks import MASKED, WAVES
from adec.display.screen.canvas_view import DOT, CanvasView
from adec.display.screen.panel import PanelState
from adec.display.screen.picture import Picture
from adec.events.records import CanvasRecord, Forward, Step, Token
from tests.display.fakes import START


def filled(
    words: dict[int, str], reached: int, masked: int, length: int = 8, reused: int = 0
) -> Step:
    """A step that filled these positions, after which `reached` more tokens stand in order."""
    record = CanvasRecord(
        tuple(Token(7, "large", text=text, position=at) for at, text in words.items()),
        masked, length, reused=reused, nats=0.5,
    )  # fmt: skip
    tokens = tuple(Token(7, "large", text=f"t{at} ") for at in range(reached))
    return Step("fill", tokens, (Forward("large", "write", 12, 1.0),), detail=record)


def text_of(view: CanvasView, width: int = 60) -> list[str]:
    return [row.plain for row in view.rows(width)]


def test_words_stand_where_they_are_filled_between_dots() -> None:
    view = CanvasView()
    view.add(filled({2: " cat", 5: " mat"}, 0, 6))
    assert text_of(view) == [f"{DOT}{DOT} cat{DOT}{DOT} mat{DOT}{DOT}"]
    marks = view.add(filled({0: "A", 1: " big"}, 3, 4))
    # the third token was filled by the step before, and keeps its colour
    assert marks == [WAVES[1], WAVES[1], WAVES[0]]
    assert text_of(view) == [f"{DOT}{DOT} mat{DOT}{DOT}"]
    spans = {(span.start, span.style) for span in view.rows(60)[0].spans}
    assert (0, MASKED.style()) in spans and (2, WAVES[0].style()) in spans


def test_an_end_token_shortens_the_canvas() -> None:
    view = CanvasView()
    view.add(filled({3: "!"}, 0, 3, length=4))
    assert text_of(view) == [f"{DOT}{DOT}{DOT}!"]


def test_figures_say_how_fast_it_fills_and_what_the_cache_saves() -> None:
    view = CanvasView()
    view.add(filled({2: "a", 5: "b", 6: "c"}, 0, 5))
    view.add(filled({0: "d"}, 1, 4, reused=36))
    assert view.figures() == [
        "2.00 tokens a forward", "50 % of 8 filled", "0.50 nats left in the block",
        "cache 60 %",
    ]  # fmt: skip
    assert view.legend().plain.startswith("filled by step 1 2")


def test_a_long_canvas_takes_few_rows_and_no_more_columns_than_there_are() -> None:
    view = CanvasView()
    view.add(filled({at: f" word{at}" for at in range(1, 300, 2)}, 0, 150, length=300))
    rows = view.rows(30)
    assert len(rows) == 4
    assert all(row.cell_len <= 30 for row in rows)


def test_hostile_words_do_not_reach_the_terminal() -> None:
    view = CanvasView()
    view.add(filled({1: "\x1b[2J\n", 2: "\t"}, 0, 6))
    assert all(ord(character) >= 32 for row in text_of(view) for character in row)


def test_the_panel_shows_the_canvas_before_any_text_stands() -> None:
    picture = Picture((60, 20), colour=True, clock=iter(range(100)).__next__)
    picture.start(replace(START, strategy="threshold"))
    picture.add(filled({2: " cat"}, 0, 7))
    frame = picture.frame((60, 20))
    assert " cat" in frame and DOT in frame and "of 8 filled" in frame
    picture.add(filled({0: "A", 1: " big"}, 3, 5))
    assert "t0" in picture.frame((60, 20))


def test_a_small_terminal_gets_fewer_rows() -> None:
    state = PanelState(START)
    state.add(filled({2: " cat"}, 0, 7), 1.0)
    picture = Picture((40, 6), colour=False)
    assert len(state.rows(picture._console, 40, 6)) == 3
