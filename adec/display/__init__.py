"""Displays show a run from its events and from nothing else.

live            text and a panel, on a terminal
canvas_view     what of a canvas is filled, in that panel
streams         the text alone, JSON, JSON lines
status          one line on stderr
summary_line    the closing lines on stderr
trace_file      events in a file, for `adec inspect`
display_choice  picks among them
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

if TYPE_CHECKING:
    # the records need msgspec, which --help does without
    from adec.events.records import Event

ColourWish = Literal["auto", "always", "never"]
"""The values of `--color`."""


class Display(Protocol):
    """A context manager that is shown the events of one run in order.

    `show` raises what its stream raises, such as BrokenPipeError. Leaving the context restores the
    terminal, after an exception as well.
    """

    def __enter__(self) -> Self: ...

    def __exit__(self, *raised: Any) -> None: ...

    def show(self, event: Event) -> None: ...


class Quiet:
    """Shows nothing. Displays derive from it and override `show`, `close` or both."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: Any) -> None:
        self.close(raised[1])

    def show(self, event: Event) -> None:
        return None

    def close(self, error: BaseException | None) -> None:
        """Called when the context is left, with the exception that ended it, if any."""


class Several(Quiet):
    """Displays side by side. All of them are shown every event, even if one before them fails."""

    def __init__(self, *displays: Display) -> None:
        self.displays = displays
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for display in self.displays:
                stack.enter_context(display)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._stack.__exit__(*raised)

    def show(self, event: Event) -> None:
        failure: Exception | None = None
        for display in self.displays:
            try:
                display.show(event)
            except Exception as error:
                failure = failure or error
        if failure is not None:
            raise failure
