"""Progress on stderr while a person watches: prompts done, time left."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self, TextIO

from adec.display.choose import is_terminal
from adec.display.sanitise import one_line

WIDE = 60
"""Columns from which there is room for a bar and for the time that is gone."""


class Progress:
    """A bar on a terminal, nothing elsewhere; erased at the end."""

    def __init__(self, stream: TextIO, *, quiet: bool = False) -> None:
        self._stream = stream
        self._shown = is_terminal(stream) and not quiet
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        if self._shown:
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
            )
            from rich.progress import Progress as Bar

            console = Console(file=self._stream, emoji=False, markup=False, highlight=False)
            name, count = TextColumn("{task.description}", markup=False), MofNCompleteColumn()
            left = TimeRemainingColumn(), TextColumn("left")
            gone = TextColumn("prompts,"), TimeElapsedColumn(), TextColumn("gone,")
            wide = console.width >= WIDE
            self._bar = Bar(
                *((name, BarColumn(), count, *gone, *left) if wide else (name, count, *left)),
                console=console,
                transient=True, redirect_stdout=False, redirect_stderr=False, refresh_per_second=4,
            )  # fmt: skip
            self._task = self._bar.add_task("loading", total=None)
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def watch(self, done: int, planned: int) -> None:
        """`done` of `planned` prompts are through."""
        if self._bar is not None:
            words = "running" if done else "loading"
            self._bar.update(self._task, completed=done, total=planned, description=words)

    def tell(self, line: str) -> None:
        """What goes on, in place of the bar's name."""
        if self._bar is not None:
            self._bar.update(self._task, description=one_line(line)[:60])
