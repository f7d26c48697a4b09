"""The page of a trace: its content, its fences against markup, and its behaviour in a browser."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from adec.events.codec import encode_line
from adec.events.records import End, Event, Signal, Start, Step, Token, TreeRecord
from adec.inspection.traces.trace_page import MOST_TOKENS, Page, block_of
from tests.display.fakes import START, events_of
from tests.events.test_codec import plain, step
from tests.inspection.browser import browser, executable
from tests.inspection.traces import look, visible, write_trace

EVIL = (
    "</script><script>window.evil = 1</script><img src=x onerror='window.evil = 2'>"
    "<!--\x1b[2J\u202e&lt;"
)
TREE = TreeRecord((1, 2, 3, 4), (-1, 0, 0, 1), (0.9, 0.5, 0.3, None), (0, 2), ("a", "b", "c", EVIL))


def evil_events() -> list[Event]:
    """Every string that a trace may hold is an attack."""
    start = Start(
        EVIL, EVIL, EVIL, EVIL, {EVIL: {"name": EVIL}}, {EVIL: EVIL}, {EVIL: 1}, EVIL, 3, 9, EVIL
    )
    tokens = (
        Token(7, "small", "accepted", 0.25, 0.5, 0.75, "one "),
        Token(8, EVIL, "accepted", 1.5, 0.1, 0.2, EVIL),
        Token(9, "large", "corrected", float("inf"), None, None, ""),
    )
    wake = Step("wake", tokens, (), 1.0, 4, 2, Signal(1.5, 0.5), EVIL, detail=TREE)
    write = Step("write", (Token(10, "large", entropy=0.1, text="last"),), signal=Signal(0.1, 0.5))
    return [start, wake, write, End({"tokens": EVIL, EVIL: EVIL})]


class Parts(HTMLParser):
    """Elements by name, what scripts hold, and the text outside of them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "script":
            self.scripts.append(data)
        elif not self._open or self._open[-1] != "style":
            self.text += data


def page_of(events: list[Event]) -> tuple[str, Parts]:
    page = Page()
    page.read(events)
    parts = Parts()
    parts.feed(page.html)
    return page.html, parts


def test_nothing_in_a_trace_becomes_markup() -> None:
    html, parts = page_of(evil_events())
    assert len(parts.scripts) == 2 and html.count("<script") == 2 and html.count("</script") == 2
    assert not any(
        tag in ("img", "iframe", "object", "link", "base", "form") for tag, _ in parts.tags
    )
    assert not any(name.startswith("on") for _, attributes in parts.tags for name in attributes)
    assert "&lt;/script&gt;" in html and "<!--" not in html
    assert visible(html)
    data = json.loads(parts.scripts[0])
    assert (
        data["tokens"][1][7].startswith("</script><script>") and "\x1b" not in data["tokens"][1][7]
    )


def test_nothing_is_fetched_and_the_policy_names_what_may_run() -> None:
    html, parts = page_of(list(events_of("some words")))
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|url\(|@import", html)
    policy = next(
        a["content"]
        for tag, a in parts.tags
        if tag == "meta" and "content" in a and a.get("http-equiv")
    )
    digest = base64.b64encode(hashlib.sha256(parts.scripts[1].encode()).digest()).decode()
    assert policy is not None and f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy


def test_the_page_holds_every_token_and_the_figures() -> None:
    events = list(events_of("words and more words " * 20))
    _, parts = page_of(events)
    data = json.loads(parts.scripts[0])
    tokens = [t for e in events if isinstance(e, Step) for t in e.tokens]
    assert [row[7] for row in data["tokens"]] == [t.text for t in tokens]
    assert [data["sources"][row[2]] for row in data["tokens"]] == [t.source for t in tokens]
    for title in ("Acceptance by position", "Time", "Who wrote it", "The most doubtful tokens"):
        assert title in parts.text


def test_newlines_of_the_prompt_are_newlines_and_names_do_not_break() -> None:
    prompt = "<user>\none\n\n  two\x1b</user>"
    html, parts = page_of([msgspec.structs.replace(START, prompt=prompt)])
    assert "<user>\none\n\n  two␛</user>" in parts.text and "␊" not in html
    style = html[html.index("<style>") : html.index("</style>")]
    assert re.search(r"\btd \{[^}]*white-space: pre-wrap", style)
    for rule in re.findall(r"([^{}]*)\{[^}]*overflow-wrap: anywhere", style):
        assert "th" not in rule.split()


@settings(max_examples=60)
@given(plain)
def test_a_block_of_data_is_json_and_ends_nothing(value: Any) -> None:
    block = block_of(value)
    assert not set("<>&") & set(block) and block.isascii() and block.isprintable()
    json.loads(block)


TAB = Token(0, "\t", entropy=0.5, text="\t")


@settings(max_examples=25, deadline=None)
@given(st.lists(step, max_size=4))
@example([Step("write", (TAB, TAB))])
@example([Step("prompt", reason="\t")])
def test_any_steps_make_a_page(steps: list[Step]) -> None:
    html, parts = page_of([START, *steps])
    assert len(parts.scripts) == 2 and visible(html)


def test_a_long_trace_is_cut_and_says_so() -> None:
    step = Step("draft", tuple(Token(i, "small", text="x") for i in range(500)))
    _, parts = page_of([START, *[step] * 42])
    assert len(json.loads(parts.scripts[0])["tokens"]) == MOST_TOKENS
    assert "first 20,000 tokens" in parts.text and "1000 more tokens" in parts.text


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    trace, page = write_trace(tmp_path / "t.jsonl", evil_events()), tmp_path / "page.html"
    outcome = look(trace, "--html", page)
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
    before = page.read_text()
    broken = tmp_path / "broken.jsonl"
    broken.write_text("{}\n")
    assert look(broken, "--html", page).code == 1 and page.read_text() == before
    broken.write_text(encode_line(START) + '\n{"type"')
    outcome = look(broken, "--html", page)
    assert outcome.code == 1 and "breaks off" in page.read_text()
    outcome = look(trace, "--html", tmp_path / "no" / "such.html")
    assert outcome.code == 2 and "cannot be written" in outcome.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["broken.jsonl", "page.html", "t.jsonl"]


@pytest.mark.skipif(executable() is None, reason="no browser on this machine")
def test_in_a_real_browser(tmp_path: Path) -> None:
    """Hover, keys and folding work; no attack runs, loads anything, or shows as markup."""
    page = Page()
    page.read(evil_events())
    path = tmp_path / "page.html"
    path.write_text(page.html, encoding="utf-8")
    with browser(tmp_path / "browser") as chromium:
        chromium.open(path)
        detail = "document.getElementById('detail').innerText"
        assert chromium.value("document.querySelectorAll('#text span').length") == 4
        chromium.move_to("[data-token='0']")
        shown = chromium.value(detail)
        for fact in ("1 of 4", '"one "', "7", "small", "accepted", "0.25 nats", "0.5", "0.75"):
            assert fact in shown
        chromium.press("ArrowRight")
        shown = chromium.value(detail)
        assert "2 of 4" in shown and "</script><script>window.evil = 1" in shown
        chromium.press("ArrowRight")
        assert "inf nats" in chromium.value(detail) and "not recorded" in chromium.value(detail)
        # one bar above the threshold, two below it; the fourth token's entropy is no number
        bars = "document.querySelector('#chart .{}').getAttribute('d').split('M').length - 1"
        assert chromium.value(bars.format("above")) == 1
        assert chromium.value(bars.format("below")) == 2
        assert (
            chromium.value("document.querySelector('#chart .threshold').getAttribute('d').length")
            > 0
        )
        nodes = "[...document.querySelectorAll('.node')].filter((n) => !n.hidden).length"
        assert chromium.value(nodes) == 0
        chromium.move_to("details.round summary", click=True)
        # the event that builds the tree comes in its own time
        assert any(chromium.value(nodes) == 4 or time.sleep(0.05) for _ in range(200))
        chromium.move_to(".node button", click=True)
        assert chromium.value(nodes) == 1
        chromium.move_to(".node button", click=True)
        assert chromium.value(nodes) == 4
        assert chromium.value("document.querySelectorAll('.node.stood').length") == 2
        chromium.move_to("#chart rect, #chart path")
        assert chromium.value("window.evil") is None
        assert chromium.value("document.querySelectorAll('img, iframe').length") == 0
        assert chromium.complaints == []
        assert chromium.requests == [path.resolve().as_uri()]
