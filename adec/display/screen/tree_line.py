"""A token tree on one row: `the (cat│dog sat)` is "the" followed by "cat" or by "dog sat"."""

from __future__ import annotations

from rich.cells import cell_len
from rich.text import Text

from adec.display.marks import CONFIRMED
from adec.display.sanitise import one_line
from adec.events.records import TreeRecord

_REJECTED = "dim"
_STRUCTURE = "dim blue"
_UNKNOWN = "·"


def tree_line(tree: TreeRecord, width: int) -> Text:
    """The drafts of a round, at most `width` cells; accepted ones are marked as confirmed.

    A trace may hold anything, so nodes whose parent does not come before them hang at the root.
    """
    row = Text(no_wrap=True)
    for part, style in _parts(tree):
        if row.cell_len + cell_len(part) > width - 1:
            return row.append("…")
        row.append(part, style=style)
    return row


def _parts(tree: TreeRecord) -> list[tuple[str, str]]:
    children: list[list[int]] = [[] for _ in range(len(tree.tokens) + 1)]
    for node, parent in enumerate(tree.parents[: len(tree.tokens)]):
        children[parent if 0 <= parent < node else -1].append(node)
    accepted = set(tree.accepted)
    parts: list[tuple[str, str]] = []
    # a stack of nodes and pieces of structure to write
    todo: list[int | str] = []

    def under(node: int) -> None:
        below = children[node]
        if len(below) > 1:
            todo.append(")")
        for place, child in enumerate(reversed(below)):
            if place:
                todo.append("│")
            todo.append(child)
        if len(below) > 1:
            todo.append("(")

    under(-1)
    while todo:
        next_one = todo.pop()
        if isinstance(next_one, str):
            parts.append((next_one, _STRUCTURE))
            continue
        text = tree.texts[next_one] if next_one < len(tree.texts) else ""
        style = CONFIRMED.style() if next_one in accepted else _REJECTED
        parts.append((one_line(text) or _UNKNOWN, style))
        under(next_one)
    return parts
