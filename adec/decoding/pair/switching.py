"""When the large model wakes and when it hands back: rules that look at distributions, never at a drawn token.

That restraint is what keeps sampling exact where drafts are verified: a rule that dropped a drawn token because of its
own probability would change the law of what is drawn in its place.
"""

from __future__ import annotations

from typing import Protocol

from adec.events.records import Signal
from adec.signals import RollingMean, Signals


class SwitchRule(Protocol):
    """Told of every row that decides a token; answers who shall write.

    `written` is the number of tokens that the model at work has committed or drafted since it took over.
    """

    @property
    def signal(self) -> Signal | None:
        """What the last answer rested on."""
        ...

    @property
    def reason(self) -> str:
        """The last change of hands in words."""
        ...

    def start(self) -> None:
        """A new answer begins."""
        ...

    def wake(self, signals: Signals, row: int, written: int) -> bool:
        """The small model is about to write the token of this row: shall the large one write it instead?"""
        ...

    def hand_back(self, signals: Signals, row: int, written: int) -> bool:
        """The large model wrote the token of this row: shall the small one go on?"""
        ...


class EntropyRule:
    """Rolling mean of the active model's entropy against two thresholds, with a least stay.

    Entropies are nats, of raw logits, before temperature. `up` >= `down` gives hysteresis. With `dwell` 0 the large
    model may leave after each token, with `window` 1 each token is judged alone.
    """

    def __init__(self, *, up: float, down: float, window: int, dwell: int, reset: bool) -> None:
        self._up = up
        self._down = down
        self._dwell = dwell
        self._reset = reset
        self._mean = RollingMean(window)
        self._window = window
        self._of = "entropy" if window == 1 else f"mean entropy of {window}"
        self.signal: Signal | None = None
        self.reason = ""

    def start(self) -> None:
        self._mean.reset()
        self.signal = None

    def wake(self, signals: Signals, row: int, written: int) -> bool:
        value = self._mean.add(signals.entropy(row))
        self.signal = Signal(value, self._up)
        return self._change(
            value > self._up, written, f"{self._of} {value:.2f} > {self._up:.2f} nats"
        )

    def hand_back(self, signals: Signals, row: int, written: int) -> bool:
        value = self._mean.add(signals.entropy(row))
        self.signal = Signal(value, self._down)
        return self._change(
            value <= self._down, written, f"{self._of} {value:.2f} <= {self._down:.2f} nats"
        )

    def _change(self, wanted: bool, written: int, reason: str) -> bool:
        if not wanted or written < self._dwell:
            return False
        self.reason = reason
        if self._reset:
            self._mean.reset()
        return True
