"""A pseudo-terminal with an emulator behind it, stricter than most real ones."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import pyte
from pyte.screens import wcwidth


class Screen(pyte.HistoryScreen):
    """pyte, with what it lacks: soft wraps are remembered, wide characters wrap early, a cursor
    beyond the last column is lost on movement (xterm), a resize keeps the cursor's row in sight and
    may rewrap rows (most terminals of today) or not (xterm)."""

    rewraps = True

    def draw(self, data: str) -> None:
        for char in data:
            width = wcwidth(char)
            if width > 0 and self.cursor.x + width > self.columns:
                if pyte.modes.DECAWM not in self.mode:
                    self.cursor.x = self.columns - width
                else:
                    self._row(self.cursor.y).soft_at = self.cursor.x
                    self.carriage_return()
                    self.linefeed()
            if width == 0 and self.cursor.x > 0:  # pyte would go to the next row first
                row, x = self.buffer[self.cursor.y], self.cursor.x - 1
                joined = unicodedata.normalize("NFC", row[x].data + char)
                row[x] = row[x]._replace(data=joined)
            else:
                super().draw(char)

    def _row(self, y: int) -> Any:
        return self.buffer[y]

    def _settle(self) -> None:
        self.cursor.x = min(self.cursor.x, self.columns - 1)

    def index(self) -> None:
        self._settle()
        super().index()

    def cursor_up(self, count: int | None = None) -> None:
        self._settle()
        super().cursor_up(count)

    def save_cursor(self) -> None:
        self._settle()
        super().save_cursor()

    def erase_in_display(self, how: int = 0, *args: Any, **kwargs: Any) -> None:
        self._settle()
        super().erase_in_display(how, *args, **kwargs)
        for y in range(self.cursor.y, self.lines):
            self._row(y).soft_at = None

    def rows(self) -> list[Any]:
        return [*self.history.top, *(self.buffer[y] for y in range(self.lines))]

    def resize(self, lines: int | None = None, columns: int | None = None) -> None:
        assert lines is not None and columns is not None
        rows, at = self.rows(), len(self.history.top) + self.cursor.y
        x = min(self.cursor.x, columns - 1)
        if self.rewraps and columns != self.columns:
            rows, at, x = self._rewrapped(rows, at, min(self.cursor.x, self.columns - 1), columns)
        else:
            for row in rows:
                for key in [key for key in row if key >= columns]:
                    del row[key]
        last = max([i for i, row in enumerate(rows) if _cells(row)] + [at])
        top = max(0, min(last + 1 - lines, at))
        self.history.top.clear()
        self.history.top.extend(rows[:top])
        self.lines, self.columns = lines, columns
        shown = rows[top : top + lines]
        self.buffer.clear()
        for y, row in enumerate(shown):
            self.buffer[y] = row
        self.set_margins()
        self.cursor.y, self.cursor.x = at - top, x

    def _rewrapped(
        self, rows: list[Any], at: int, x: int, columns: int
    ) -> tuple[list[Any], int, int]:
        out: list[Any] = []
        new_at, new_x = 0, 0
        logical: list[Any] = []
        cursor: int | None = None
        for i, row in enumerate(rows):
            soft_at = getattr(row, "soft_at", None)
            if i == at:
                cursor = len(logical) + x
            logical += _cells(row) if soft_at is None else [row[k] for k in range(soft_at)]
            if soft_at is not None:
                continue
            fresh = self._new_row()
            column = 0
            for offset in range(max(len(logical), (cursor or 0) + 1)):
                cell = logical[offset] if offset < len(logical) else None
                wide = offset + 1 < len(logical) and logical[offset + 1].data == ""
                if column + 1 + wide > columns and (cell is None or cell.data):
                    fresh.soft_at = column
                    out.append(fresh)
                    fresh, column = self._new_row(), 0
                if offset == cursor:
                    new_at, new_x = len(out), column
                if cell is not None:
                    fresh[column] = cell
                column += 1
            out.append(fresh)
            logical, cursor = [], None
        return out, new_at, new_x

    def _new_row(self) -> Any:
        spare = pyte.Screen(1, 1)
        return spare.buffer[0]

    def text(self) -> str:
        """History and screen as a person would copy them."""
        parts = []
        for row in self.rows():
            soft_at = getattr(row, "soft_at", None)
            if soft_at is None:
                parts.append("".join(c.data for c in _cells(row)) + "\n")
            else:
                parts.append("".join(row[k].data for k in range(soft_at)))
        lines = [line.rstrip() for line in "".join(parts).split("\n")]
        return "\n".join(lines).rstrip("\n") + "\n"


def _cells(row: Any) -> list[Any]:
    """The cells of a row without blanks at its end."""
    cells = [row[k] for k in range(max(row, default=-1) + 1)]
    while cells and cells[-1].data == " ":
        cells.pop()
    return cells


class Terminal:
    """The emulator, fed from the master side of a pseudo-terminal."""

    def __init__(self, columns: int, lines: int, *, rewraps: bool = True) -> None:
        self.screen = Screen(columns, lines, history=200_000)
        self.screen.rewraps = rewraps
        self._stream = pyte.ByteStream(self.screen)
        self.master, slave = os.openpty()
        self.raw = b""
        self.out: TextIO = os.fdopen(slave, "w", encoding="utf-8", newline="")
        self._set_size(columns, lines)
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self.master, 65536)
            except OSError:
                return
            if not data:
                return
            with self._lock:
                self.raw += data
                self._stream.feed(data)

    def _set_size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def text(self) -> str:
        with self._lock:
            return self.screen.text()

    def close(self) -> None:
        """Take in all that was written, then stop."""
        self.out.close()
        self._thread.join(5)
        os.close(self.master)


@contextmanager
def terminal(columns: int, lines: int, *, rewraps: bool = True) -> Iterator[Terminal]:
    made = Terminal(columns, lines, rewraps=rewraps)
    try:
        yield made
    finally:
        if not made.out.closed:
            made.close()
