"""How many threads a model runs on, adapted while it runs by the time of its own forwards.

Threads of llama.cpp wait for each other by spinning. Beside another busy program one of two
threads often waits for a whole time slice of the scheduler, and a forward takes many times as long
as on one thread. When the other program is done, two may be faster again. So counts are compared by
forwards of one token, which the run makes anyway. What a row holds does not depend on the count.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

WINDOW = 5
"""Forwards whose median counts."""
TRIED = 3
"""Forwards of a trial."""
SLOW = 1.5
"""A forward this many times slower than usual is a sign of contention; several in a row start a
trial."""
HOPELESS = 3.0
"""A trial ends at once if a forward takes this many times what the present count takes."""
FEWER, MORE = 1.03, 0.93
"""Time, as a share of the present count's, up to which fewer threads are taken, and more. Fewer are
preferred: they leave the machine to others."""
FIRST = 6
"""Forwards before the first trial."""
WAIT, WAIT_MOST = 48, 768
"""Forwards between trials; a trial that changes nothing doubles the wait."""


class ThreadCount:
    """Chooses among `most`, half of it, and so on down to 1; `apply` sets a count."""

    def __init__(self, most: int, apply: Callable[[int], None]) -> None:
        self.counts = [most]
        """The counts to choose from, greatest first."""
        while self.counts[-1] > 1:
            self.counts.append(self.counts[-1] // 2)
        self.now = most
        self.changes = 0
        """How often another count was taken."""
        self._apply = apply
        self._recent: list[float] = []
        self._usual: float | None = None  # ms of the present count, when it was quiet
        self._wait, self._left = WAIT, FIRST
        self._down = True  # which neighbour to try next
        self._before: tuple[int, float] | None = None  # the count and its ms, during a trial

    def record(self, ms: float) -> None:
        """Learn that a forward of one token took `ms`, and change the count if that pays."""
        self._recent.append(ms)
        if self._before is not None:
            self._judge(*self._before)
            return
        del self._recent[:-WINDOW]
        self._left -= 1
        now = median(self._recent)
        slow = (
            self._usual is not None
            and len(self._recent) >= TRIED
            and min(self._recent[-TRIED:]) > SLOW * self._usual
        )
        if len(self._recent) == WINDOW and not slow:
            self._usual = now if self._usual is None else min(now, 1.02 * self._usual)
        if slow:
            self._wait, self._down, self._usual = WAIT, True, now
        if slow or self._left <= 0:
            self._try(now)

    def _try(self, now: float) -> None:
        self._left = self._wait
        place = self.counts.index(self.now)
        places = [place + 1, place - 1] if self._down else [place - 1, place + 1]
        self._down = not self._down
        other = next((p for p in places if 0 <= p < len(self.counts)), None)
        if other is not None:
            self._before = self.now, now
            self._set(self.counts[other])

    def _judge(self, count: int, ms: float) -> None:
        """Compare the count on trial with the one before, which takes `ms`."""
        hopeless = self._recent[-1] > HOPELESS * ms
        if len(self._recent) < TRIED and not hopeless:
            return
        # the first forward with another count sets threads up
        found = median(self._recent[1:]) if len(self._recent) > 2 else self._recent[-1]
        self._before = None
        if not hopeless and found <= ms * (FEWER if self.now < count else MORE):
            self.changes += 1
            self._usual, self._wait = found, WAIT
            self._recent = []
        else:
            self._set(count)
            self._wait = min(2 * self._wait, WAIT_MOST)
        self._left = self._wait

    def _set(self, count: int) -> None:
        self.now = count
        self._recent = []
        self._apply(count)
