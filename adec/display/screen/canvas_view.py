"""The canvas of a diffusion model while it is filled: words where they stand, dots for masks.

What everything before it has reached is text, which is appended and never redrawn. The rest, from
the first mask on, is in the panel.
"""

from __future__ import annotations

from rich.text import Text

from adec.display.marks import MASKED, WAVES, Mark
from adec.display.sanitise import one_line
from adec.display.wording import SEPARATOR, count, percent
from adec.events.records import CanvasRecord, Step

DOT = "·"
_ROWS = 4
"""Rows of the panel for what does not yet stand in order."""


class CanvasView:
    """What stood where after the steps so far, and which step filled it."""

    def __init__(self) -> None:
        self._words: dict[int, tuple[str, Mark]] = {}
        self._length = 0
        self._masked = 0
        self._reached = 0
        self._filled = 0
        self._steps = 0
        self._forwards = 0
        self._computed = 0
        self._reused = 0
        self._nats: float | None = None

    def add(self, step: Step) -> list[Mark]:
        """Take in a step; the marks of its tokens, which are text from now on."""
        record = step.detail
        if not isinstance(record, CanvasRecord):
            return [WAVES[0] for _ in step.tokens]
        mark = WAVES[self._steps % len(WAVES)]
        self._steps += 1
        self._forwards += len(step.forwards)
        self._filled += len(record.filled)
        self._length, self._masked, self._nats = record.length, record.masked, record.nats
        self._reused += record.reused
        self._computed += sum(forward.tokens for forward in step.forwards)
        for token in record.filled:
            if token.position is not None:
                self._words[token.position] = (token.text, mark)
        marks = [
            self._words.pop(place, ("", mark))[1]
            for place in range(self._reached, self._reached + len(step.tokens))
        ]
        self._reached += len(step.tokens)
        return marks

    @property
    def begun(self) -> bool:
        """Whether a canvas was filled at all."""
        return self._steps > 0

    def rows(self, width: int) -> list[Text]:
        """What follows the text: filled words between dots, at most a few rows."""
        rows, row = [], Text(no_wrap=True)
        for place in range(self._reached, self._length):
            word, mark = self._words.get(place, (DOT, MASKED))
            part = one_line(word) or " "
            piece = Text(part, style=mark.style())
            if row.cell_len + piece.cell_len > width:
                rows.append(row)
                if len(rows) == _ROWS:
                    return rows
                row = Text(no_wrap=True)
                piece.truncate(width)
            row.append(piece)
        return [*rows, row]

    def figures(self) -> list[str]:
        """Tokens a forward, share filled, entropy of what is left, cache hits."""
        parts = [f"{self._filled / max(1, self._forwards):.2f} tokens a forward"]
        if self._length:
            parts.append(f"{percent(1 - self._masked / self._length)} of {self._length} filled")
        if self._nats is not None:
            parts.append(f"{self._nats:.2f} nats left in the block")
        if self._reused:
            hits = self._reused / max(1, self._reused + self._computed)
            parts.append(f"cache {percent(hits)}")
        return parts

    def legend(self) -> Text:
        """How the steps are told apart."""
        row = Text("filled by step ", no_wrap=True)
        latest = max(0, self._steps - len(WAVES))
        for number in range(latest, self._steps):
            row.append(f"{number + 1}", style=WAVES[number % len(WAVES)].style()).append(" ")
        return row.append(f"{SEPARATOR.strip()} {count(self._steps, 'step')}")
