"""The frames of the live display: text, and a panel under it.

Text is appended and never redrawn, so the terminal itself wraps, scrolls and copies it. The cursor
stays at the end of the text; each frame erases the panel below and draws it again. Nothing depends
on how many rows the terminal takes for something: a resize or an odd emoji can spoil the panel
until the next frame, but never the text.

`rich.live.Live` does not serve: it redraws by counting rows, and cuts text taller than the screen.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from rich.console import Console

from adec.display.marks import mark_of
from adec.display.sanitise import sanitise
from adec.display.screen.flow import Flow, Run
from adec.display.screen.panel import PanelState
from adec.events.records import Start, Step

PANEL_SECONDS = 0.25
"""Figures change at 4 Hz; faster, they could not be read."""
PATIENCE_SECONDS = 0.3
"""Time after which the reading of a prompt shows its progress."""

_HIDE, _SHOW = "\x1b[?25l", "\x1b[?25h"
_NO_WRAP, _WRAP = "\x1b[?7l", "\x1b[?7h"
_ERASE_BELOW = "\x1b[J"

Size = tuple[int, int]
"""Columns and rows."""


class Picture:
    """Takes in events (`start`, `add`) and returns what to write (`frame`, `finish`).

    `start` and `add` may run in another thread than the rest.
    """

    def __init__(
        self, size: Size, *, colour: bool, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._colour = colour
        self._clock = clock
        self._console = Console(
            force_terminal=True,
            color_system="standard",
            no_color=not colour,
            legacy_windows=False,
            markup=False,
            emoji=False,
            highlight=False,
        )
        self._size = size
        self._flow = Flow(size[0])
        self._notes = threading.Lock()
        """Guards the next four, which `start` and `add` write."""
        self._runs: list[Run] = []
        self._state: PanelState | None = None
        self._changed = False
        self._begun = 0.0
        self._rows: list[str] = []
        self._panel_at = 0.0
        self._panel_drawn = False

    def start(self, event: Start) -> None:
        """A run begins."""
        with self._notes:
            self._begun = self._clock()
            self._state = PanelState(event)
            self._changed = True

    def add(self, step: Step) -> None:
        """Take note of a step."""
        texts = [sanitise(token.text) for token in step.tokens]
        with self._notes:
            marks = [*map(mark_of, step.tokens)]
            if self._state is not None:
                marks = self._state.add(step, self._clock() - self._begun)
            self._runs += [(mark, text) for mark, text in zip(marks, texts, strict=True) if text]
            self._changed = True

    def refresh(self) -> None:
        """Redraw the panel in the next frame, whatever is on the screen."""
        self._changed, self._panel_at = True, 0.0

    def frame(self, size: Size) -> str:
        """What to write now, on a terminal of this size. Often nothing."""
        resized = size != self._size
        if resized:
            self._size = size
            self._flow.resize(size[0])
            self.refresh()
        with self._notes:
            runs, self._runs = self._runs, []
            redrawn = self._update_rows()
        text = self._marked(self._flow.take(runs))
        if not text and not redrawn:
            return ""
        return _HIDE + self.erase() + text + self._panel() + _SHOW

    def erase(self) -> str:
        """What erases the panel."""
        drawn, self._panel_drawn = self._panel_drawn, False
        return _ERASE_BELOW if drawn else ""

    def finish(self) -> str:
        """The last of the text and a newline, without the panel."""
        with self._notes:
            runs, self._runs = self._runs, []
        text = self._marked(self._flow.take(runs) + self._flow.finish())
        return self.erase() + text + (_WRAP + _SHOW if self._rows else "")

    def _update_rows(self) -> bool:
        now, state = self._clock(), self._state
        if state is None or not self._changed or now - self._panel_at < PANEL_SECONDS:
            return False
        waits = state.tally.tokens == 0 and not state.canvas.begun
        if waits and now - self._begun < PATIENCE_SECONDS:
            return False
        self._rows = state.rows(self._console, *self._size)
        self._panel_at, self._changed = now, False
        return True

    def _marked(self, runs: list[Run]) -> str:
        return "".join(mark.wrap(text, colour=self._colour) for mark, text in runs)

    def _panel(self) -> str:
        if not self._rows:
            return ""
        self._panel_drawn = True
        # Moving down makes room: it scrolls if it must and keeps the column. Only then is the
        # place saved. Without wrapping, a row that a resize made too long stays one row.
        down = "\x1bD" * len(self._rows)
        rows = "".join(f"\x1b[E{row}" for row in self._rows)
        return f"{down}\x1b[{len(self._rows)}A\x1b7{_NO_WRAP}{rows}\x1b[0m{_WRAP}\x1b8"
