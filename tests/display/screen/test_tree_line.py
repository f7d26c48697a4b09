"""A tree of drafts on one row."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from adec.display.screen.tree_line import tree_line
from adec.events.records import TreeRecord


def record(texts: str, parents: tuple[int, ...], accepted: tuple[int, ...] = ()) -> TreeRecord:
    words = tuple(texts.split("/"))
    return TreeRecord(tuple(range(len(words))), parents, (None,) * len(words), accepted, words)


def test_a_chain_reads_as_its_text() -> None:
    assert tree_line(record("The/ cat/ sat", (-1, 0, 1)), 80).plain == "The cat sat"


def test_branches_stand_side_by_side_in_the_order_of_the_drafter() -> None:
    tree = record("a/ cat/ dog/ sat/the", (-1, 0, 0, 2, -1))
    assert tree_line(tree, 80).plain == "(a( cat│ dog sat)│the)"


def test_what_stands_is_marked() -> None:
    row = tree_line(record("a/ cat/ dog", (-1, 0, 0), accepted=(0, 2)), 80)
    marked = "".join(row.plain[s.start : s.end] for s in row.spans if "italic" in str(s.style))
    assert marked == "a dog"


def test_escape_sequences_do_not_pass() -> None:
    assert "\x1b" not in tree_line(record("\x1b[2J/\n", (-1, 0)), 80).plain


@given(
    parents=st.lists(st.integers(-5, 30), max_size=30),
    texts=st.lists(st.text(max_size=4), max_size=30),
    accepted=st.lists(st.integers(-3, 40), max_size=5),
    width=st.integers(1, 60),
)
def test_any_record_fits_its_width(
    parents: list[int], texts: list[str], accepted: list[int], width: int
) -> None:
    tokens = tuple(range(len(parents)))
    tree = TreeRecord(tokens, tuple(parents), (None,) * len(tokens), tuple(accepted), tuple(texts))
    assert cell_len(tree_line(tree, width).plain) <= width
