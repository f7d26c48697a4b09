"""How far long work is: a bar with the time left on a terminal, else a line now and then."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from types import TracebackType
from typing import Any, Self, TextIO

from adec.display.display_choice import is_terminal
from adec.display.sanitise import one_line

WIDE = 60
"""Columns from which a bar and the elapsed time have room."""
NAME = 60
"""Longest name of a bar."""
PAUSE = 30.0
"""Seconds between two lines where there is no terminal."""


class Progress:
    """Bars of rich, one for each stage of the work; where there is no terminal, some lines.

    With a `unit` a bar counts ("12/50 prompts"), without one it shows percent. The bars of finished
    stages stay, unless `erase` is set.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        quiet: bool = False,
        unit: str = "",
        erase: bool = False,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._stream = stream
        self._lines = not (quiet or is_terminal(stream))
        self._clock = clock
        self._began = self._told = clock()
        self._name = ""
        self._total: float | None = None
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
        self._name, self._total = _short(name), total
        if self._bars is not None:
            self._bar = self._bars.add_task(_short(name), total=total)

    def update(self, done: float, total: float | None = None) -> None:
        """Move the bar to `done`; a `total` replaces the one that was given before."""
        self._total = self._total if total is None else total
        if self._bar is not None:
            self._bars.update(self._bar, completed=done, total=total)
        elif self._lines and self._clock() - self._told >= PAUSE:
            self._tell(done)

    def rename(self, name: str) -> None:
        """Say what goes on in place of the bar's name."""
        self._name = _short(name)
        if self._bar is not None:
            self._bars.update(self._bar, description=_short(name))

    def _tell(self, done: float) -> None:
        self._told = now = self._clock()
        if self._unit:
            far = f"{done:g}" + (f" of {self._total:g}" if self._total else "")
            far += f" {self._unit}"
        else:
            far = f"{100 * done / self._total:.0f} %" if self._total else ""
        gone = now - self._began
        spent = f"{gone:.0f} s" if gone < 120 else f"{gone / 60:.0f} min"
        parts = [self._name, far, f"{spent} gone"]
        with suppress(OSError, ValueError):  # a reader that has gone stops no work
            self._stream.write(f"adec: {', '.join(part for part in parts if part)}\n")
            self._stream.flush()

    def _fill(self) -> None:
        if self._bar is not None and (total := self._bars.tasks[-1].total) is not None:
            self._bars.update(self._bar, completed=total)


def _short(name: str) -> str:
    return one_line(name)[:NAME]
