"""A server whose large model runs what waits in one batch after the other, and its users.

Users think, ask, draft, and wait for the line. What is assumed:

- A batch takes what has waited longest, at most `BATCH` tokens; a longer prompt is cut in pieces.
- The small model reads its prompt while the server reads its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random
from typing import Literal

import numpy as np

from tools.many_users.ways import Trace, Turn, Way

BATCH = 2048
"""Most tokens of one batch."""
DRAFT_MS = 13.0
"""The small model writes a token: Qwen2.5-Coder-0.5B, Q4, on two cores."""
CURVE_HERE = ((1, 38.0), (2, 75.0), (3, 114.0), (4, 140.0), (6, 196.0), (8, 242.0), (11, 308.0),
              (12, 313.0), (16, 267.0), (20, 389.0), (32, 471.0))  # fmt: skip
"""(tokens, ms): Qwen2.5-Coder-1.5B, Q4_K_M, one thread, as measured; beyond, as the last token."""


@dataclass(frozen=True)
class Server:
    """A machine with the large model."""

    name: str
    batch_ms: Callable[[int], float]
    """Time of a batch of n tokens."""
    context_ms: float = 0.0
    """What each conversation in a batch adds: its keys and values are read, whatever the batch."""


def gpu(weights_ms: float = 20.0, token_ms: float = 0.13, context_ms: float = 0.05) -> Server:
    """A roofline: reading the weights hides the arithmetic of the first 150 tokens or so.

    The defaults are a model of 32B parameters in 16 bits on one card with 3.3 TB/s and some 500
    useful TFLOP/s; conversations of 600 tokens with 256 kB of keys and values each.
    """
    return Server("GPU", lambda n: 2.0 + max(weights_ms, token_ms * n), context_ms)


def here() -> Server:
    """Two cores, where a token of a batch costs nearly what it costs alone."""
    sizes = [size for size, _ in CURVE_HERE]
    times = [ms for _, ms in CURVE_HERE]
    slope = times[-1] / sizes[-1]

    def batch_ms(n: int) -> float:
        if n > sizes[-1]:
            return n * slope
        return float(np.interp(n, sizes, times))

    return Server("two cores", batch_ms)


@dataclass
class Totals:
    """What a simulated run came to."""

    answers: int = 0
    requests: int = 0
    fed: int = 0
    """Tokens that the server ran, those that it had written itself included."""
    forwards: int = 0
    """Rows of logits: each gives a token."""
    batches: int = 0
    unlike: int = 0
    tokens: int = 0
    busy_ms: float = 0.0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)


@dataclass
class _Asking:
    """A user's answer under way."""

    began: float
    turns: Iterator[Turn]
    left: int = 0
    """Tokens that the server has still to read before it writes the next."""
    to_write: int = 0


Kind = Literal["ask", "arrive", "answered"]
"""Something happens: a user asks, a request arrives at the server, its answer at the user."""


def simulate(
    server: Server,
    way: Way,
    traces: Sequence[Trace],
    *,
    users: int,
    trip_ms: float,
    think_s: float,
    seconds: float,
    seed: int,
) -> Totals:
    """`users` ask, wait, and think (exponentially, `think_s` on average) for `seconds`.

    Counts answers that were finished after a tenth of the time. `trip_ms`: a round trip.
    """
    work = _Simulation(server, way, traces, trip_ms, think_s, seconds, seed)
    return work.run(users)


class _Simulation:
    """One server and its users; times are milliseconds since the beginning."""

    def __init__(
        self,
        server: Server,
        way: Way,
        traces: Sequence[Trace],
        trip_ms: float,
        think_s: float,
        seconds: float,
        seed: int,
    ) -> None:
        self._server = server
        self._way = way
        self._traces = traces
        self._trip_ms = trip_ms
        self._thinks_per_ms = 1 / (1000 * think_s)
        self._rng = Random(seed)
        self._turns = {id(trace): way.turns(trace) for trace in traces}
        self._ends, self._warm = 1000 * seconds, 100 * seconds
        self._totals = Totals(seconds=(self._ends - self._warm) / 1000)
        # of the same moment, what was planned first comes first
        self._events: list[tuple[float, int, Kind, _Asking | None]] = []
        self._planned = 0
        self._line: deque[_Asking] = deque()

    def run(self, users: int) -> Totals:
        """Let them ask until the end."""
        for _ in range(users):
            self._later(self._thought(), "ask")
        now = 0.0
        while now < self._ends and (self._events or self._line):
            if not self._line:
                now = max(now, self._events[0][0])
            while self._events and self._events[0][0] <= now:
                self._happen(*heappop(self._events))
            if self._line:
                now = self._run_batch(now)
        return self._totals

    def _later(self, when: float, kind: Kind, asking: _Asking | None = None) -> None:
        self._planned += 1
        heappush(self._events, (when, self._planned, kind, asking))

    def _thought(self) -> float:
        return self._rng.expovariate(self._thinks_per_ms)

    def _happen(self, when: float, number: int, kind: Kind, asking: _Asking | None) -> None:
        if asking is None:
            trace = self._rng.choice(self._traces)
            if when >= self._warm:
                self._totals.unlike += self._way.unlike(trace)
                self._totals.tokens += len(trace.agrees)
            self._next_turn(_Asking(when, iter(self._turns[id(trace)])), when)
        elif kind == "arrive":
            self._totals.requests += when >= self._warm
            self._line.append(asking)
        else:
            self._next_turn(asking, when)

    def _next_turn(self, asking: _Asking, now: float) -> None:
        """The user's machine drafts, and sends; or the answer is done."""
        turn = next(asking.turns, None)
        if turn is None or turn.read == 0:
            done = now + (0 if turn is None else DRAFT_MS * turn.drafted)
            if self._warm <= done <= self._ends:
                self._totals.answers += 1
                self._totals.latencies.append(done - asking.began)
            self._later(done + self._thought(), "ask")
            return
        asking.left, asking.to_write = turn.read, turn.written
        self._later(now + DRAFT_MS * turn.drafted + self._trip_ms / 2, "arrive", asking)

    def _run_batch(self, now: float) -> float:
        """Run what waits, as much as a batch holds; when it is done."""
        batch, room, totals = [], BATCH, self._totals
        while self._line and room:
            asking = self._line.popleft()
            part = min(asking.left, room)
            batch.append((asking, part))
            room -= part
        spent = self._server.batch_ms(BATCH - room) + self._server.context_ms * len(batch)
        now += spent
        counted = now >= self._warm
        totals.busy_ms += spent * counted
        totals.batches += counted
        for asking, part in batch:
            totals.fed += part * counted
            asking.left -= part
            if asking.left == 0:
                asking.to_write -= 1
                totals.forwards += counted
                if asking.to_write == 0:
                    self._later(now + self._trip_ms / 2, "answered", asking)
                    continue
                asking.left = 1
            self._line.append(asking)
        return now
