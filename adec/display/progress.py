"""A progress bar with the time left, on stderr while a person watches, and nothing in a pipe."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self, TextIO

from adec.display.display_choice import is_terminal
from adec.display.sanitise import one_line

WIDE = 60
"""Columns from which a bar and the elapsed time have room."""
NAME = 60
"""Longest name of a bar."""


class Progress:
    """Bars of rich, one for each stage of the work, on a terminal; silence elsewhere.

    With a `unit` a bar counts ("12/50 prompts"), without one it shows percent. The bars of finished
    stages stay, unless `erase` is set.
    """

    def __init__(
        self, stream: TextIO, *, quiet: bool = False, unit: str = "", erase: bool = False
    ) -> None:
        self._stream = stream
        self._shown = is_terminal(stream) and not quiet
        self._unit = unit
        self._erase = erase
        self._bars: Any = None
        self._bar: Any = None

    def __enter__(self) -> Self:
        if self._shown:
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TaskProgressColumn,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
            )

            console = Console(file=self._stream, emoji=False, markup=False, highlight=False)
            columns: list[Any] = [TextColumn("{task.description}", markup=False)]
            wide = console.width >= WIDE
            if wide:
                columns.append(BarColumn())
            if self._unit:
                columns += [MofNCompleteColumn(), TextColumn(f"{self._unit},", markup=False)]
            else:
                columns.append(TaskProgressColumn())
            if wide:
                columns += [TimeElapsedColumn(), TextColumn("gone,")]
            columns += [TimeRemainingColumn(), TextColumn("left")]
            self._bars = Progress(
                *columns, console=console, transient=self._erase, redirect_stdout=False,
                redirect_stderr=False, refresh_per_second=4,
            )  # fmt: skip
            self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._fill()
        if self._bars is not None:
            self._bars.stop()

    def stage(self, name: str, total: float | None = None) -> None:
        """Fill the bar at hand and begin another one; a `total` of None is not known yet."""
        self._fill()
        if self._bars is not None:
            self._bar = self._bars.add_task(_short(name), total=total)

    def update(self, done: float, total: float | None = None) -> None:
        """Move the bar to `done`; a `total` replaces the one that was given before."""
        if self._bar is not None:
            self._bars.update(self._bar, completed=done, total=total)

    def rename(self, name: str) -> None:
        """Say what goes on in place of the bar's name."""
        if self._bar is not None:
            self._bars.update(self._bar, description=_short(name))

    def _fill(self) -> None:
        if self._bar is not None and (total := self._bars.tasks[-1].total) is not None:
            self._bars.update(self._bar, completed=total)


def _short(name: str) -> str:
    return one_line(name)[:NAME]
