"""Ctrl-C: the first ends the answer after the current step, the second leaves at once."""

from __future__ import annotations

import signal
from types import FrameType

INTERRUPTED = 130
"""Exit code of what was interrupted."""


class Interrupts:
    """While entered, the first SIGINT sets `asked`; the next raises KeyboardInterrupt."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> Interrupts:
        self._before = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *raised: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
