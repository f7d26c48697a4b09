"""A source keeps its mark, and every mark can be told apart without colours."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adec.display.marks import LARGE, LEGEND, OTHERS, SMALL, legend_name, mark_of, mark_of_source
from adec.display.sanitise import one_line
from adec.events.records import Token


def test_marks_differ_without_colours() -> None:
    assert len({mark.sign for mark in LEGEND}) == len(LEGEND)


@given(st.text())
def test_any_source_has_a_mark_of_its_own_kind(source: str) -> None:
    mark = mark_of(Token(1, source))
    assert mark is mark_of_source(source) and mark in LEGEND
    if source not in ("small", "large"):
        assert mark in OTHERS
        assert legend_name(mark, ["small", source]) == (one_line(source)[:20] or "other")


def test_large_and_small_are_as_ever() -> None:
    assert mark_of(Token(1, "small")) is SMALL and mark_of(Token(1, "large")) is LARGE
    assert {mark_of_source(f"layer:{n}") for n in range(40)} == set(OTHERS)
