"""How reports look: titled blocks of facts, tables and lines, on a terminal or in a pipe."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TextIO

from adec.display.sanitise import one_line
from adec.display.streams import write

PIPE_WIDTH = 4000
"""Columns in a pipe, where nothing should be wrapped or cut."""

_GAP = 2
_SLIVER = 24
"""The least width of a folded column."""


@dataclass(frozen=True)
class Facts:
    """Names with their values, one a line."""

    title: str
    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Table:
    """Rows under a header; columns in `numbers` are aligned to the right."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Lines:
    """Lines of text."""

    title: str
    lines: Sequence[str]


Block = Facts | Table | Lines


@dataclass(frozen=True)
class Report:
    """What was found: `data` for programs, `blocks` for people."""

    data: dict[str, Any]
    blocks: list[Block] = field(default_factory=list)


def show(blocks: Iterable[Block], stream: TextIO, *, colour: bool, width: int | None) -> None:
    """Print blocks, with every string sanitised. A `width` of None means a pipe."""
    from rich.console import Console

    text = io.StringIO()
    console = Console(
        file=text,
        width=width or PIPE_WIDTH,
        force_terminal=colour,
        color_system="standard" if colour else None,
        no_color=not colour,
        legacy_windows=False,
        markup=False,
        emoji=False,
        highlight=False,
    )
    for number, block in enumerate(blocks):
        if number:
            console.print()
        if block.title:
            console.print(_safe(block.title, "bold"))
        if isinstance(block, Lines):
            for line in block.lines:
                console.print(_safe(line))
        elif isinstance(block, Table) and width is not None and not _fits(block, width):
            for row in block.rows:
                console.print(_listed(block.header, row))
        else:
            console.print(_grid(block))
    # rich pads every cell
    lines = [line.rstrip() for line in text.getvalue().split("\n")]
    write(stream, "\n".join(lines))


def _fits(table: Table, width: int) -> bool:
    """Whether it suffices to fold the widest column, and not to a sliver."""
    from rich.cells import cell_len

    columns = zip(table.header, *table.rows, strict=True)
    widths = [max(cell_len(one_line(cell)) for cell in column) + _GAP for column in columns]
    return sum(widths) - max(widths) + min(max(widths), _SLIVER) <= width


def _listed(header: Sequence[str], row: Sequence[str]) -> Any:
    """A row as a paragraph of names and values."""
    from rich.text import Text

    cells = [(name, cell) for name, cell in zip(header, row, strict=True) if cell]
    text = Text()
    for index, (name, cell) in enumerate(cells):
        text.append(" · " if index else "")
        text.append_text(_safe(f"{name} " if name else "", "dim")).append_text(_safe(cell))
    return text


def _grid(block: Facts | Table) -> Any:
    from rich.table import Table as Grid

    header = isinstance(block, Table)
    grid = Grid(box=None, show_header=header, pad_edge=False, padding=(0, _GAP, 0, 0), expand=False)
    if isinstance(block, Table):
        for index, name in enumerate(block.header):
            right = index in block.numbers
            grid.add_column(
                _safe(name, "dim"),
                justify="right" if right else "left",
                no_wrap=right,
                overflow="fold",
            )
        for row in block.rows:
            grid.add_row(*(_safe(cell) for cell in row))
    else:
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        for name, value in block.rows:
            grid.add_row(_safe(name, "dim"), _safe(value))
    return grid


def _safe(text: str, style: str = "") -> Any:
    from rich.text import Text

    return Text(one_line(text), style=style)
