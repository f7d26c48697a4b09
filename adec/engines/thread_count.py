"""How many threads a model runs on, adapted while it runs by the time of its own forwards.

Threads of one forward wait for each other, in llama.cpp and in torch by spinning. Beside another
busy program one of two threads often waits for a whole time slice of the scheduler, and a forward
takes many times as long as on one thread. When the other program is done, two may be faster again.
Counts are compared by forwards that the run makes anyway, of one token or of many: each is held
against the usual time of its size. Where the system says how many other threads want a core, that
decides when a trial is due, never its outcome.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from statistics import fmean, median
from time import sleep

from adec.events.records import ThreadChange
from adec.machine import others_running, others_steadily

WINDOW = 5
"""Forwards whose median counts."""
TRIED = 3
"""Forwards of a trial, and slow forwards in a row that start one."""
SLOW = 1.5
"""A forward this many times slower than usual is a sign of contention."""
CAREFUL = 8
"""Forwards of a trial of fewer threads that nothing but courtesy calls for."""
HOPELESS = 1.5
"""A trial ends at once if a forward takes this many times what the present count takes."""
STALLED = 3.0
"""One forward this many times slower than usual starts a trial if another program wants a core."""
FEWER, MORE = 1.03, 0.93
"""Time, as a share of the present count's, up to which fewer threads are taken, and more. Fewer are
preferred: they leave the machine to others."""
FIRST = 6
"""Forwards before the first trial where it is unknown whether others use the machine."""
WAIT, WAIT_MOST = 48, 768
"""Forwards between trials; a trial that changes nothing doubles the wait."""
AGAIN = 8
"""Forwards after which a trial that was put off is considered again."""
COST = 0.01
"""Share of the run's time that trials may cost beyond the last one."""
LARGE = 32
"""Batches above it are counted in steps of it."""

BUSY, FREE, SPARED = "machine in use", "machine free again", "as fast on fewer"


class ThreadCount:
    """Chooses among `most`, half of it, and so on down to 1; `apply` sets a count.

    It starts on `start`, or on fewer if fewer cores are free. `others` tells how many threads of
    other programs run or wait, None where that is unknown; `cores` are the machine's.
    """

    def __init__(
        self,
        most: int,
        apply: Callable[[int], None],
        others: Callable[[], int | None] = others_running,
        cores: int | None = None,
        start: int | None = None,
        pause: Callable[[float], None] = sleep,
    ) -> None:
        self.counts = [most]
        """The counts to choose from, greatest first."""
        while self.counts[-1] > 1:
            self.counts.append(self.counts[-1] // 2)
        self.changes: list[ThreadChange] = []
        """Every time another count was taken; a trial that fails is none."""
        self._apply, self._others = apply, others
        self._cores = max(most, cores or os.cpu_count() or 1)
        self._usual: dict[int, float] = {}  # ms by size, of the present count when it was quiet
        self._ratios: deque[float] = deque(maxlen=WINDOW)  # of the latest forwards to the usual
        self._slow = 0  # slow forwards in a row
        self._total = self._spent = 0.0  # ms of all forwards, and what trials cost
        self._down = True  # which neighbour to try next
        self._before: tuple[int, float] | None = None  # during a trial: the count and its ratio
        self._busy = False  # whether the trial was due to others
        self._trial: list[float] = []  # its ratios
        self._unknown = 0  # its forwards of sizes that say nothing
        others_now = others_steadily(others, pause)
        self._wait, self._left = WAIT, FIRST if others_now is None else WAIT
        start = most if start is None else start
        self.now = next(count for count in self.counts if count <= start)
        if others_now is not None and (free := self._cores - others_now) < self.now:
            usual = self.now
            self.now = next(count for count in self.counts if count <= max(1, free))
            if self.now < usual:
                self.changes.append(ThreadChange(usual, self.now, BUSY))
        if self.now != most:
            self._apply(self.now)

    def record(self, ms: float, tokens: int = 1) -> None:
        """Learn that a forward of `tokens` took `ms`, and change the count if that pays."""
        if tokens > LARGE:
            size = -(-tokens // LARGE) * LARGE
            ms *= size / tokens
        else:
            size = tokens
        self._total += ms
        usual = self._expected(size)
        if self._before is not None:
            self._judge(None if usual is None else ms / usual, ms, *self._before)
            return
        self._left -= 1
        if usual is None:
            self._usual[size] = ms
        else:
            ratio = ms / usual
            self._ratios.append(ratio)
            if ratio > SLOW:
                self._slow += 1
            else:
                self._slow = 0
                # a little up: a longer context makes every forward slower
                self._usual[size] = usual * max(0.5 + 0.5 * ratio, min(ratio, 1.02))
            if self._stalled(ratio):
                self._slow_down()
                return
        if self._left <= 0 and self._left % AGAIN == 0:
            self._look_around()

    def _expected(self, size: int) -> float | None:
        """The usual ms of a size, between its neighbours where it was never seen."""
        if size in self._usual:
            return self._usual[size]
        below = max((s for s in self._usual if s < size), default=None)
        above = min((s for s in self._usual if s > size), default=None)
        if below is None or above is None:
            return None
        share = (size - below) / (above - below)
        return self._usual[below] * (1 - share) + self._usual[above] * share

    def _free(self) -> int | None:
        others = self._others()
        return None if others is None else self._cores - others

    def _stalled(self, ratio: float) -> bool:
        if self.now == self.counts[-1]:
            return False
        return self._slow >= TRIED or (ratio > STALLED and bool(self._others()))

    def _slow_down(self) -> None:
        """Try fewer threads, since the latest forwards were slow."""
        self._slow, self._wait = 0, WAIT
        self._settle(fmean(list(self._ratios)[-TRIED:]))
        self._try(self.counts[self.counts.index(self.now) + 1], 1.0, busy=True)

    def _look_around(self) -> None:
        """Try a neighbouring count, unless it could not pay now."""
        place = self.counts.index(self.now)
        places = [place + 1, place - 1] if self._down else [place - 1, place + 1]
        other = next((self.counts[p] for p in places if 0 <= p < len(self.counts)), None)
        if other is None or not self._ratios:
            self._left = self._wait
            return
        free = self._free()
        # the account: what trials cost so far must be small beside the run
        dear = self._spent > COST * self._total
        # what runs may have a low priority, so a trial is put off and not cancelled
        crowded = free is not None and free < other and self._left > -2 * WAIT_MOST
        if dear or (other > self.now and crowded):
            return
        self._down = not self._down
        self._try(other, median(self._ratios), busy=free is not None and free < self.now)

    def _try(self, count: int, ratio: float, *, busy: bool) -> None:
        self._before, self._busy = (self.now, ratio), busy
        self._trial, self._unknown = [], 0
        self._set(count)

    def _judge(self, ratio: float | None, ms: float, count: int, before: float) -> None:
        """Compare the count on trial with the one before, which takes `before` of the usual."""
        if ratio is None:
            self._unknown += 1
            if self._unknown > TRIED:  # sizes that say nothing
                self._end(count)
            return
        self._trial.append(ratio)
        self._spent += max(0.0, ms * (1 - before / ratio))
        hopeless = ratio > HOPELESS * before
        spared = self.now < count and not self._busy
        if len(self._trial) < (CAREFUL if spared else TRIED) and not hopeless:
            return
        # the first forward with another count sets threads up
        found = median(self._trial[1:]) if len(self._trial) > 2 else ratio
        if not hopeless and found <= before * (FEWER if self.now < count else MORE):
            reason = FREE if self.now > count else SPARED if spared else BUSY
            self.changes.append(ThreadChange(count, self.now, reason))
            self._wait, self._before = WAIT, None
            self._settle(found)
            self._left = self._wait
        else:
            self._wait = min(2 * self._wait, WAIT_MOST)
            self._end(count)

    def _end(self, count: int) -> None:
        """End a trial without a change."""
        self._before = None
        self._set(count)
        self._left = self._wait

    def _settle(self, ratio: float) -> None:
        """From now on a forward usually takes `ratio` times what was usual."""
        self._usual = {size: ms * ratio for size, ms in self._usual.items()}
        self._ratios.clear()

    def _set(self, count: int) -> None:
        self.now = count
        self._apply(count)
