"""What a person sees while it is measured: a bar with the time left for each stage, on stderr, and nothing in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol


class Progress(Protocol):
    """Told of stages and of how far each is."""

    def stage(self, name: str) -> None:
        """A stage begins."""
        ...

    def tick(self, share: float) -> None:
        """The stage is so far, 0 to 1. Raises KeyboardInterrupt when Ctrl-C was asked for."""
        ...


class Silent:
    """No bar; Ctrl-C is still heard."""

    def __init__(self, interrupted: Callable[[], bool] = lambda: False) -> None:
        self._interrupted = interrupted

    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def stage(self, name: str) -> None:
        """See `Progress`."""

    def tick(self, share: float) -> None:
        """See `Progress`."""
        if self._interrupted():
            raise KeyboardInterrupt


class Bars:
    """Bars of rich, one a stage; those that are done stay."""

    def __init__(self, interrupted: Callable[[], bool]) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._interrupted = interrupted
        self._task: Any = None
        self._progress = RichProgress(
            TextColumn("{task.description:<28}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._finish()
        self._progress.stop()

    def stage(self, name: str) -> None:
        """See `Progress`."""
        self._finish()
        self._task = self._progress.add_task(name, total=1.0)

    def tick(self, share: float) -> None:
        """See `Progress`."""
        if self._interrupted():
            raise KeyboardInterrupt
        if self._task is not None:
            self._progress.update(self._task, completed=min(1.0, share))

    def _finish(self) -> None:
        if self._task is not None:
            self._progress.update(self._task, completed=1.0)


def progress_on_stderr(interrupted: Callable[[], bool], *, quiet: bool) -> Bars | Silent:
    """Bars where stderr is a terminal, else silence."""
    if quiet or not sys.stderr.isatty():
        return Silent(interrupted)
    return Bars(interrupted)
