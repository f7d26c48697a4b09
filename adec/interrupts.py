"""Ctrl-C: the first one ends the answer after the current step, the second one leaves at once."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType


class Interrupts:
    """While entered, `asked` turns true at the first SIGINT; the next raises KeyboardInterrupt."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> Interrupts:
        self._before = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
