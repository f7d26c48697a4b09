"""A crew inside this process whose workers die, refuse, lie, or take their time, by a script."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from adec.errors import AdecError
from adec.spreading.crew import Desk, DeskOpener, Word, Worker

Fate = str
"""What becomes of a job: "well", "dies", "lies", "refuses", or "slow" (its answer comes later)."""


@dataclass
class FakeCrew:
    """`fate(worker, job)` is asked for each job given; every answer takes a turn of `listen`."""

    size: int
    fate: Callable[[int, Any], Fate] = lambda worker, job: "well"
    named: bool = False
    desks: dict[int, Desk] = field(default_factory=dict)
    given: list[tuple[int, Any]] = field(default_factory=list)
    closed: bool = False

    def __post_init__(self) -> None:
        self._words: deque[tuple[int, Word]] = deque()
        self._turn = self._lost = self._hired = 0
        self._live: set[int] = set()

    def hire(self, opener: DeskOpener) -> Worker | None:
        if len(self._live) + self._lost >= self.size:
            return None
        self._hired += 1
        self._live.add(self._hired)
        self.desks[self._hired] = opener()
        name = f"host{self._hired % self.size}" if self.named else ""
        return Worker(self._hired, name, f"processor {self._hired % self.size}")

    def give(self, worker: Worker, job: Any) -> None:
        number = worker.number
        assert number in self._live, "a job for one that is gone"
        self.given.append((number, job))
        fate = self.fate(number, job)
        if fate == "dies":
            word = Word(number, "died", "out of luck")
        elif fate == "refuses":
            word = Word(number, "refused", AdecError("another model lies here"))
        elif fate == "lies":
            word = Word(number, "result", b'{"type": "prompt", "index": -1}')
        else:
            word = Word(number, "result", self.desks[number].do(job))
        self._words.append((self._turn + (9 if fate == "slow" else 1), word))

    def listen(self, seconds: float) -> list[Word]:
        self._turn += 1
        due = [word for turn, word in self._words if turn <= self._turn]
        self._words = deque(entry for entry in self._words if entry[0] > self._turn)
        return due

    def dismiss(self, worker: Worker, *, refill: bool) -> None:
        self._live.discard(worker.number)
        self._lost += not refill
        self.desks.pop(worker.number).close()

    def close(self) -> None:
        if not self.closed:
            for desk in self.desks.values():
                desk.close()
        self.closed = True
