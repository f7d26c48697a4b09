"""Reports of any width: a table that would fold to slivers becomes a paragraph for each row."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from adec.inspection.sheet import Table, show

words = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=12)
cells = st.lists(words, min_size=1, max_size=6).map(" ".join)


tables = st.integers(1, 6).flatmap(
    lambda n: st.tuples(
        st.lists(words, min_size=n, max_size=n),
        st.lists(st.lists(cells, min_size=n, max_size=n), min_size=1, max_size=4),
    )
)


@given(tables, st.integers(30, 200))
def test_every_cell_is_there_at_every_width(
    table: tuple[list[str], list[list[str]]], width: int
) -> None:
    """No line is wider than the terminal, and no character is lost to an ellipsis."""
    header, rows = table
    out = io.StringIO()
    show([Table("", header, rows)], out, colour=False, width=width)
    assert max(cell_len(line) for line in out.getvalue().splitlines()) <= width
    assert "…" not in out.getvalue()
    shown = sorted(out.getvalue().replace("·", ""))
    for character in {c for row in rows for cell in row for c in cell if c != " "}:
        wanted = sum(cell.count(character) for row in rows for cell in row)
        assert shown.count(character) >= wanted


def test_what_does_not_fit_is_a_paragraph_and_what_fits_a_table() -> None:
    table = Table("", ("name", "one", "two"), [("first", "x" * 30, "y" * 30), ("second", "", "z")])
    wide, narrow = io.StringIO(), io.StringIO()
    show([table], wide, colour=False, width=80)
    show([table], narrow, colour=False, width=50)
    assert wide.getvalue().splitlines()[0].split() == ["name", "one", "two"]
    assert narrow.getvalue().splitlines()[-1] == "name second · two z"
