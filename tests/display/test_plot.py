"""The plot of quality against speed: everything in its place, in characters and as SVG."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from adec.display.plot import Plot, PlotPoint, letters

shares = st.floats(0.0, 1.0)
speeds = st.floats(0.0, 1e9)
points = st.builds(
    PlotPoint,
    x=speeds,
    y=shares,
    label=st.text(max_size=12),
    mark=st.sampled_from("abcXYZ"),
    front=st.booleans(),
    spread=st.floats(0.0, 10.0),
)
plots = st.builds(
    Plot,
    x_title=st.just("tokens per second"),
    y_title=st.just("agreement kept"),
    points=st.lists(points, min_size=1, max_size=30),
    line=st.none() | shares,
    line_label=st.text(max_size=12),
)


@given(plots, st.integers(0, 200), st.booleans())
def test_lines_fit_and_show_every_mark(plot: Plot, width: int, unicode: bool) -> None:
    lines = plot.text(width, unicode=unicode)
    if width < 29:
        assert lines == []
        return
    assert max(map(len, lines)) <= width
    drawn = [line.partition("┤" if unicode else "|")[2] for line in lines[1:-3]]
    for mark in "abcXYZ":
        wanted = sum(point.mark == mark for point in plot.points)
        got = sum(line.count(mark) for line in drawn)
        # where a row is full, marks lie on one another
        assert got == wanted or (len(plot.points) > width - 9 and got <= wanted)
    if not unicode:
        assert "".join(lines).isascii()


@given(plots)
def test_the_svg_is_well_formed_and_keeps_every_point_inside(plot: Plot) -> None:
    picture = plot.svg()
    root = ET.fromstring(picture)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    circles = [node for node in root if node.tag.endswith("circle")]
    assert len(circles) == len(plot.points)
    for circle in circles:
        assert 0 <= float(circle.attrib["cx"]) <= width
        assert 0 <= float(circle.attrib["cy"]) <= height
    assert "script" not in picture and picture.count("http") == 1


def test_better_is_higher_and_more_is_further_right() -> None:
    plot = Plot(
        "ms a token",
        "right answers",
        [PlotPoint(1, 0.9, "slow", "S"), PlotPoint(0.25, 0.4, "bad", "B")],
        line=0.8,
    )
    lines = plot.text(60)
    place = {
        mark: (y, line.index(mark))
        for y, line in enumerate(lines[1:-3])
        for mark in "SB·"
        if mark in line
    }
    assert place["S"][0] < place["·"][0] < place["B"][0]
    assert place["B"][1] < place["S"][1]
    assert plot.legend() == "s slow  b bad"


def test_labels_cannot_break_out_of_the_svg() -> None:
    point = PlotPoint(1, 1, "<script>&\x1b[0m", "x", about='"><a href="http://x">')
    root = ET.fromstring(Plot("x", "y", [point]).svg())
    assert {node.tag.rpartition("}")[2] for node in root.iter()} <= {
        "svg", "rect", "path", "text", "polyline", "circle", "title",
    }  # fmt: skip


@given(st.lists(st.text(max_size=5), max_size=26))
def test_every_name_gets_a_letter_of_its_own(names: list[str]) -> None:
    given_letters = letters(names)
    assert set(given_letters) == set(names)
    assert len(set(given_letters.values())) == len(given_letters)


def test_names_keep_their_first_letter_where_it_is_free() -> None:
    assert letters(["plain", "speculate", "smartspec", "plain"]) == {
        "plain": "p", "speculate": "s", "smartspec": "m",
    }  # fmt: skip
