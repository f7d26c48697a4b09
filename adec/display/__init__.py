"""What shows a run: every display reads events and nothing else.

    live     text and a panel, on a terminal         plain    text alone, on a terminal or in a pipe
    jsonl    events or one object, for programs      trace    events in a file, for `adec inspect`
    status   one line on stderr while stdout is redirected       summary   closing lines on stderr

`choose.choose_display` picks among them.
"""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import Literal, Protocol, Self

from adec.events.records import Event

ColourWish = Literal["auto", "always", "never"]
"""What `--color` may say."""


class Display(Protocol):
    """A context manager that is shown the events of one run in order.

    `show` raises what its stream raises (BrokenPipeError when the reader has gone). Leaving the
    context puts a terminal in order, after an exception as well.
    """

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def show(self, event: Event) -> None: ...


class Quiet:
    """Shows nothing; the base of displays that have nothing to open or close."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

    def show(self, event: Event) -> None:
        return None


class Several(Quiet):
    """Displays side by side. Each is shown every event, also when one before it fails."""

    def __init__(self, *displays: Display) -> None:
        self.displays = displays
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for display in self.displays:
                stack.enter_context(display)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    def show(self, event: Event) -> None:
        failure: Exception | None = None
        for display in self.displays:
            try:
                display.show(event)
            except Exception as error:
                failure = failure or error
        if failure is not None:
            raise failure
