"""The animation of a canvas on the page of a trace: its data, its fences, and how it plays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adec.events.records import CanvasRecord, End, Event, Forward, Step, Token
from adec.inspection.traces import trace_page
from adec.inspection.traces.trace_page import Page
from tests.display.fakes import START
from tests.inspection.browser import browser, executable
from tests.inspection.test_page import EVIL, page_of


def fill(words: dict[int, str], masked: int, reached: str = "") -> Step:
    filled = tuple(
        Token(5, "large", probability=0.75, text=text, position=at) for at, text in words.items()
    )
    tokens = tuple(Token(5, "large", text=word) for word in reached)
    record = CanvasRecord(filled, masked, 6, reused=3, nats=0.5)
    return Step("fill", tokens, (Forward("large", "write", 9, 2.0),), detail=record)


EVENTS: list[Event] = [
    START,
    fill({2: "c", 4: EVIL}, 4),
    fill({0: "a", 1: "b"}, 2, "abc"),
    fill({3: "d", 5: ""}, 0, "d"),
    End(),
]


def test_the_page_holds_what_every_step_filled() -> None:
    html, parts = page_of(EVENTS)
    fills = json.loads(parts.scripts[0])["fills"]
    assert [[entry[0] for entry in fill["filled"]] for fill in fills] == [[2, 4], [0, 1], [3, 5]]
    assert [(fill["masked"], fill["length"], fill["reused"]) for fill in fills] == [
        (4, 6, 3), (2, 6, 3), (0, 6, 3)
    ]  # fmt: skip
    assert fills[0]["filled"][0] == [2, "c", 0.75]
    # an attack is text, and the page has no script but its two
    assert html.count("<script") == 2 and "\x1b" not in fills[0]["filled"][1][1]


def test_other_traces_have_no_animation() -> None:
    _, parts = page_of([START, Step("write", (Token(1, "large", text="x"),)), End()])
    assert json.loads(parts.scripts[0])["fills"] == []


def test_an_endless_canvas_is_cut_and_the_page_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_page, "MOST_TOKENS", 3)
    _, parts = page_of(EVENTS)
    fills = json.loads(parts.scripts[0])["fills"]
    assert sum(len(fill["filled"]) for fill in fills) == 3
    assert all(fill["length"] <= 3 for fill in fills)
    assert "3 more positions were filled later" in parts.text


@pytest.mark.skipif(executable() is None, reason="no browser on this machine")
def test_the_slider_in_a_real_browser(tmp_path: Path) -> None:
    page = Page()
    page.read(EVENTS)
    path = tmp_path / "page.html"
    path.write_text(page.html, encoding="utf-8")
    with browser(tmp_path / "browser") as chromium:
        chromium.open(path)
        shown = "document.getElementById('filling').innerText"
        drag = (
            "(() => {{ const s = document.getElementById('slider'); s.value = '{}';"
            " s.dispatchEvent(new Event('input')); return s.value; }})()"
        )
        assert "a" in chromium.value(shown) and "·" not in chromium.value(shown)
        chromium.value(drag.format(0))
        assert chromium.value(shown) == "·" * 6
        chromium.value(drag.format(1))
        assert chromium.value(shown).startswith("··c·</script>")
        chromium.value(drag.format(2))
        assert chromium.value("document.querySelectorAll('#filling .fresh').length") == 2
        assert chromium.value("window.evil === undefined")
