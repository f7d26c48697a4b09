"""The text of a trace in rows, each with its sources and entropies below, as the trace is read."""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import get_character_cell_size

from adec.display.marks import LEGEND, Mark, mark_of
from adec.display.sanitise import sanitise
from adec.display.screen.sparkline import ABOVE, block
from adec.events.records import Step, Token

LETTERS = dict(zip(LEGEND, "safLcbhopqr", strict=True))
"""Letters below the text that name its sources, for output without text attributes."""
FULL = 2.0
"""Entropy in nats that fills a column if there is no threshold."""
_TAB = 4
_ABOVE = Mark("", *ABOVE.split())
_BELOW = Mark("", "dim")


class Rows:
    """Takes in steps and returns finished rows: the text, its sources, its entropies.

    With `escapes`, escape sequences mark the sources, as in the live display; with `colour`, in
    colours too. Without, letters in a row of their own do.
    """

    def __init__(self, width: int, *, escapes: bool, colour: bool) -> None:
        self._width = max(8, width)
        self._escapes = escapes
        self._colour = colour
        self._clear()

    def _clear(self) -> None:
        self._cells = 0
        self._text: list[tuple[Mark, str]] = []
        self._letters: list[str] = []
        self._columns: list[tuple[Mark, str]] = []

    def take(self, step: Step) -> Iterator[str]:
        """Take in a step and return the lines of the rows that it completes."""
        signal = step.signal
        for token in step.tokens:
            mark, first = mark_of(token), True
            column = _column(token, None if signal is None else signal.threshold)
            for character in sanitise(token.text):
                if character == "\n":
                    yield from self._row()
                    continue
                if character == "\t":
                    character = " " * _TAB
                size = sum(map(get_character_cell_size, character))
                if self._cells + size > self._width:
                    yield from self._row()
                self._cells += size
                self._text.append((mark, character))
                letter = LETTERS[mark] if first else "·"
                self._letters.append((letter + "·" * (size - 1))[:size])
                self._columns.append((column[0], column[1] * size))
                first = False

    def finish(self) -> Iterator[str]:
        """The last row."""
        if self._text:
            yield from self._row()

    def _row(self) -> Iterator[str]:
        text, letters, columns = self._text, self._letters, self._columns
        self._clear()
        yield self._marked(text)
        if not text:
            return
        if not self._escapes:
            yield "".join(letters)
        if any(shape.strip() for _, shape in columns):
            yield self._marked(columns).rstrip()

    def _marked(self, runs: list[tuple[Mark, str]]) -> str:
        if not self._escapes:
            return "".join(piece for _, piece in runs)
        out: list[str] = []
        at = 0
        while at < len(runs):
            end = at
            while end < len(runs) and runs[end][0] is runs[at][0]:
                end += 1
            piece = "".join(part for _, part in runs[at:end])
            out.append(runs[at][0].wrap(piece, colour=self._colour))
            at = end
        return "".join(out)


def _column(token: Token, threshold: float | None) -> tuple[Mark, str]:
    """A token's column and mark: above the threshold it is taller than half, in another colour."""
    entropy = token.entropy
    if entropy is None or entropy != entropy:
        return _BELOW, " "
    above = threshold is not None and entropy > threshold
    return _ABOVE if above else _BELOW, block(entropy, threshold, FULL)
