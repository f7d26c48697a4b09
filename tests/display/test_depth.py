"""How deep tokens ran: in the panel and in the closing lines."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from adec.display.screen.panel import PanelState
from adec.display.summary_line import summary_lines
from adec.events.records import DepthRecord, Forward, Start, Step, Token
from adec.events.tally import Tally, layers_named


def start(**large: Any) -> Start:
    return Start("0", "sorted", "approximate", None, {"large": large}, {}, {}, "", 3, 20)


def step(depth: int) -> Step:
    forward = Forward("large", "write", 1, 1.0, depth if depth < 12 else None)
    return Step(
        "write", (Token(5, f"layer:{depth}"),), (forward,), detail=DepthRecord(depth, 12, 0.9)
    )


def test_the_panel_shows_the_depth_of_each_token_and_the_share_that_ran() -> None:
    panel = PanelState(start(layers=12))
    for depth in (12, 3, 3, 6):
        panel.add(step(depth), 0.1)
    rows = "\n".join(panel.rows(Console(force_terminal=False), 100, 20))
    assert "layer 6 of 12" in rows and "most leave at 3 and 6" in rows
    narrow = panel.rows(Console(force_terminal=False), 30, 20)
    assert all(len(row) <= 30 for row in narrow)


def test_the_closing_lines_say_where_tokens_left() -> None:
    tally = Tally("sorted", "approximate", layers=12)
    for depth in (12, 3, 3, 6):
        tally.add(step(depth), 0.1)
    lines = summary_lines(tally.summary(1.0))
    assert any("layer 3 wrote 2, 6 wrote 1, 12 wrote 1" in line for line in lines)
    assert not any("wrote" in line for line in summary_lines(Tally("x", "y").summary(1.0)))


@pytest.mark.parametrize("exits", [None, [], {"\x1b[31m": 3}, {"3": "many"}, 7])
def test_exits_of_anybodys_trace_do_no_harm(exits: Any) -> None:
    summary = {"tokens": 3, "exits_by_layer": exits, "layers_computed": "x", "layers_of": -1}
    assert "\x1b" not in "".join(summary_lines(summary))


@pytest.mark.parametrize("layers", [None, 0, -1, 1 << 40, "12", True, 2.0])
def test_a_header_may_name_any_number_of_layers(layers: Any) -> None:
    assert layers_named(start(layers=layers)) is None
    assert layers_named(start()) is None and layers_named(start(layers=12)) == 12
