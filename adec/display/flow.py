"""Text that is only ever appended to a terminal, and what must be known of its cursor for that.

After a character in the last column a terminal's cursor rests in a state between two rows that is
lost when the cursor is moved to draw a panel below. So the character that would fill a row is held
back until the next ones come. Where that column lies is not always certain: terminals disagree on
some emoji, and after a resize some rewrap their rows and others do not. All columns where the
cursor may be are followed, until the next newline makes it certain again; holding back a character
too many costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from rich.cells import get_character_cell_size

from adec.display.marks import Mark

Run = tuple[Mark, str]
"""A stretch of sanitised text and its mark."""

_TAB = 8


class Flow:
    """Takes runs of text in, gives back what may be written now."""

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
        """Nothing was taken in so far but newlines."""

    def resize(self, width: int) -> None:
        """The terminal has another width now."""
        # what is held back was never written: the cursor stands before it
        stays = {min(column, width - 1) for column in self._rest_columns}
        self.width = width
        self._rest_columns = stays | {_rewrapped(self._line[: self._rest_line], width)}
        self._columns = self._rest_columns
        for _, text in self._held:
            for character in text:
                self._columns = self._after(self._columns, _widths(character))

    def take(self, runs: Iterable[Run]) -> list[Run]:
        """Take text in; what is to be written, in order, tabs as spaces."""
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
        """What was held back, and the newline that ends the text if there is any."""
        if self.empty:
            return []
        out = [*self._held, (Mark(""), "\n")]
        self._held = []
        return out

    def _is_easy(self, text: str) -> bool:
        """Whether a run is narrow and surely stays within its row."""
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
        """The cursor may rest here: nothing need be held back."""
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
    """The cells that a character may take."""
    code = ord(character)
    if 0x1F3FB <= code <= 0x1F3FF:  # skin tones join the emoji before them, or do not
        return (0, 2)
    if 0x1F1E6 <= code <= 0x1F1FF:  # halves of flags
        return (1, 2)
    return (get_character_cell_size(character),)


def _rewrapped(widths: bytearray, columns: int) -> int:
    """The column after characters of these widths, wrapped anew."""
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
