"""One decision at the start: which displays, which colour."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from adec.display import Several
from adec.display.display_choice import (
    ColourWish,
    DisplayFlags,
    choose_display,
    colour_wanted,
    is_terminal,
)
from adec.display.status import StatusLine
from adec.errors import UsageError


class Stream(io.StringIO):
    def __init__(self, terminal: bool, encoding: str = "utf-8") -> None:
        super().__init__()
        self.terminal = terminal
        self._encoding = encoding

    def isatty(self) -> bool:
        return self.terminal

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding


def names(
    flags: DisplayFlags, out: bool, err: bool, *, term: str = "xterm", encoding: str = "utf-8"
) -> list[str]:
    display = choose_display(
        flags, stdout=Stream(out, encoding), stderr=Stream(err), environment={"TERM": term}
    )
    assert isinstance(display, Several)
    return [type(d).__name__.replace("Display", "") for d in display.displays]


@pytest.mark.parametrize(
    ("flags", "out", "err", "chosen"),
    [
        (DisplayFlags(), True, True, ["Live", "Summary"]),
        (DisplayFlags(), True, False, ["Live", "Summary"]),
        (DisplayFlags(), False, True, ["Plain", "StatusLine", "Summary"]),
        (DisplayFlags(), False, False, ["Plain", "CutNotice"]),
        (DisplayFlags(plain=True), True, True, ["Plain", "Summary"]),
        (DisplayFlags(quiet=True), True, True, ["Live"]),
        (DisplayFlags(quiet=True), False, True, ["Plain"]),
        (DisplayFlags(jsonl=True), True, True, ["JsonLines"]),
        (DisplayFlags(json=True), False, True, ["Json", "StatusLine"]),
        (DisplayFlags(trace=Path("t")), False, False, ["TraceWriter", "Plain", "CutNotice"]),
    ],
)
def test_choice(flags: DisplayFlags, out: bool, err: bool, chosen: list[str]) -> None:
    assert names(flags, out, err) == chosen


def test_no_status_line_erases_what_the_reader_of_a_pipe_writes(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with open(reader), open(writer, "w") as pipe, (tmp_path / "answer.txt").open("w") as file:
        for stdout, status in ((pipe, False), (file, True)):
            display = choose_display(
                DisplayFlags(), stdout=stdout, stderr=Stream(True), environment={"TERM": "xterm"}
            )
            assert isinstance(display, Several)
            assert any(isinstance(d, StatusLine) for d in display.displays) is status


def test_terminals_that_cannot_show_it() -> None:
    assert names(DisplayFlags(), True, True, term="dumb") == ["Plain", "Summary"]
    assert names(DisplayFlags(), False, True, term="dumb") == ["Plain", "Summary"]
    assert names(DisplayFlags(), True, True, encoding="ascii") == ["Plain", "Summary"]


def test_flags_that_exclude_each_other() -> None:
    with pytest.raises(UsageError):
        choose_display(DisplayFlags(json=True, jsonl=True))


@pytest.mark.parametrize(
    ("wish", "terminal", "environment", "wanted"),
    [
        ("auto", True, {"TERM": "xterm"}, True),
        ("auto", True, {"TERM": "dumb"}, False),
        ("auto", False, {"TERM": "xterm"}, False),
        ("auto", True, {"TERM": "xterm", "NO_COLOR": ""}, True),
        ("auto", True, {"TERM": "xterm", "NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        ("auto", False, {"FORCE_COLOR": "1"}, True),
        ("always", False, {"NO_COLOR": "1"}, True),
        ("never", True, {"FORCE_COLOR": "1"}, False),
    ],
)
def test_colour(
    wish: ColourWish, terminal: bool, environment: dict[str, str], wanted: bool
) -> None:
    assert colour_wanted(wish, Stream(terminal), environment) is wanted


def test_a_closed_stream_is_no_terminal() -> None:
    stream = io.StringIO()
    stream.close()
    assert not is_terminal(stream)
