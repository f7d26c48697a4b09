"""The picture of a trace holds the whole text and nothing from the network."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from adec.display.screen.svg import svg_of
from adec.errors import TraceError, UsageError
from adec.events.codec import encode_line
from adec.events.records import End, Signal, Start, Step, Token
from tools.picture import main

START = Start("0", "ead", "approximate", None, {}, {}, {}, "q", 1, 9)
STEPS = [
    Step("draft", (Token(1, "small", text="plain <b> & "),), signal=Signal(0.1, 0.5)),
    Step(
        "wake", (Token(2, "large", text="lar\x1b[2Jge"),), signal=Signal(0.9, 0.5), reason="unsure"
    ),
]


def test_a_trace_becomes_a_picture(tmp_path: Path) -> None:
    trace, picture = tmp_path / "t.jsonl", tmp_path / "t.svg"
    trace.write_text("".join(encode_line(event) + "\n" for event in (START, *STEPS, End({}))))
    main([str(trace), str(picture)])
    text = "".join(ElementTree.parse(picture).getroot().itertext()).replace("\xa0", " ")
    assert "plain <b> &" in text and "lar␛[2Jge" in text and "lately: unsure" in text
    assert "url(" not in picture.read_text().replace("url(#", "")


def test_what_is_no_trace_is_refused() -> None:
    with pytest.raises(TraceError):
        svg_of([])
    with pytest.raises(UsageError):
        main(["one"])
