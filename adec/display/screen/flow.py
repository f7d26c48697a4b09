"""Appends text to a terminal without ever leaving the cursor in the last column.

There a cursor is between two rows, and that state is lost when it moves to draw a panel below. So
a character that would fill a row is held back until more text comes. The cursor's column is not
always known: terminals disagree on some emoji, and only some rewrap rows on a resize. So all
possible columns are tracked until the next newline, and one that may be the last holds text back.
"""

from __future__ import annotations

from collections.abc import Iterable

from rich.cells import get_character_cell_size

from adec.display.marks import Mark

Run = tuple[Mark, str]
"""A stretch of sanitised text and its mark."""

_TAB = 8


class Flow:
    """Takes in runs of text and returns what may be written now."""

    def __init__(self, width: int) -> None:
        self.width = width
        self._columns = {0}
        # Widths of the characters since the last newline, to find the column after a rewrap.
        self._line = bytearray()
        self._cells = 0
        # What is held back, and the columns and the length of the line before it.
        self._held: list[Run] = []
        self._rest_columns = {0}
        self._rest_line = 0
        # Newlines at the end wait as well: the answer is to end in exactly one.
        self._newlines = 0
        self.empty = True
        """Whether only newlines have come so far."""

    def resize(self, width: int) -> None:
        """Note the terminal's new width."""
        # what is held back was never written: the cursor stands before it
        stays = {min(column, width - 1) for column in self._rest_columns}
        self.width = width
        self._rest_columns = stays | {_rewrapped(self._line[: self._rest_line], width)}
        self._columns = self._rest_columns
        for _, text in self._held:
            for character in text:
                self._columns = self._after(self._columns, _widths(character))

    def take(self, runs: Iterable[Run]) -> list[Run]:
        """Take in text and return what to write, with tabs as spaces."""
        out: list[Run] = []
        for mark, text in runs:
            if self._is_easy(text):
                self._line += b"\1" * len(text)
                self._cells += len(text)
                (column,) = self._columns
                self._columns = {column + len(text)}
                self._held.append((mark, text))
                self._rest(out)
                self.empty = False
                continue
            for character in text:
                if character == "\t":
                    cells = 0 if self._newlines else self._cells
                    for _ in range(_TAB - cells % _TAB):
                        self._take(mark, " ", out)
                else:
                    self._take(mark, character, out)
        return _joined(out)

    def finish(self) -> list[Run]:
        """What was held back, and a newline if there was any text."""
        if self.empty:
            return []
        out = [*self._held, (Mark(""), "\n")]
        self._held = []
        return out

    def _is_easy(self, text: str) -> bool:
        """Whether a run is ASCII and certainly fits in its row."""
        if self._held or self._newlines or len(self._columns) > 1 or not text.isascii():
            return False
        (column,) = self._columns
        return column + len(text) < self.width and text.isprintable() and bool(text)

    def _take(self, mark: Mark, character: str, out: list[Run]) -> None:
        if character == "\n":
            self._newlines += 1
            return
        if self._newlines:
            self._held.append((mark, "\n" * self._newlines))
            self._newlines = 0
            self._columns = {0}
            self._line.clear()
            self._cells = 0
            self._rest(out)
        self.empty = False
        widths = _widths(character)
        self._columns = self._after(self._columns, widths)
        self._line.append(max(widths))
        self._cells += max(widths)
        self._held.append((mark, character))
        if self.width not in self._columns:
            self._rest(out)

    def _rest(self, out: list[Run]) -> None:
        """The cursor is clear of the last column: release what was held back."""
        out += self._held
        self._held.clear()
        self._rest_columns, self._rest_line = self._columns, len(self._line)

    def _after(self, columns: set[int], widths: tuple[int, ...]) -> set[int]:
        return {
            column + width if column + width <= self.width else width
            for column in columns
            for width in widths
        }


def _widths(character: str) -> tuple[int, ...]:
    """The possible widths of a character in cells."""
    code = ord(character)
    if 0x1F3FB <= code <= 0x1F3FF:  # skin tones join the emoji before them, or do not
        return (0, 2)
    if 0x1F1E6 <= code <= 0x1F1FF:  # halves of flags
        return (1, 2)
    return (get_character_cell_size(character),)


def _rewrapped(widths: bytearray, columns: int) -> int:
    """The column after characters of these widths, rewrapped."""
    column = 0
    for width in widths:
        column = column + width if column + width <= columns else width
    return column


def _joined(runs: list[Run]) -> list[Run]:
    joined: list[Run] = []
    for mark, text in runs:
        if joined and joined[-1][0] is mark:
            joined[-1] = (mark, joined[-1][1] + text)
        else:
            joined.append((mark, text))
    return joined
