"""Hands jobs to the workers of a crew. What a worker leaves undone is asked again elsewhere.

Every job gives one result, whatever dies meanwhile:

- A job whose worker died, refused, or answered garbage goes to another worker before new ones do.
- A worker that died after it had done something is replaced. One that never did anything is not:
  it would die again.
- A job at which `ENDED` workers died ends the run: it is the job's fault.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from adec.errors import AdecError
from adec.spreading.crew import Crew, DeskOpener, Worker

ENDED = 3
"""Workers that may die at one job."""
POLL_SECONDS = 0.2
TROUBLE = 300
"""Characters of what a worker says of its end."""

Tell = Callable[[str], None]
J = TypeVar("J")
R = TypeVar("R")


@dataclass
class _Attempt:
    job: Any
    round: int
    ended: int = 0
    """Workers that died at it."""


class Dispatcher(Generic[J, R]):
    """A crew at work, for one or several rounds of jobs; workers keep their desks in between.

    `read` turns a worker's bytes into the result of a job, and raises ValueError on garbage.
    """

    def __init__(
        self, crew: Crew, opener: DeskOpener, read: Callable[[J, bytes], R], tell: Tell
    ) -> None:
        self.crew = crew
        self._opener = opener
        self._read = read
        self._tell = tell
        self._round = 0
        self._idle: deque[Worker] = deque()
        self._at_work: dict[int, tuple[Worker, _Attempt]] = {}
        self._again: deque[_Attempt] = deque()
        self._proven: set[int] = set()
        self._may_hire = True
        self._trouble: AdecError | None = None

    def ask(
        self, jobs: Iterator[J], interrupted: Callable[[], bool]
    ) -> Generator[tuple[R, Worker], None, None]:
        """The results as they come, and who did them.

        A worker has one job at a time, which bounds memory. When interrupted, or closed early, jobs
        under way are dropped. Raises AdecError when no worker is left.
        """
        self._round += 1
        self._again.clear()
        self._may_hire = True
        while not interrupted():
            waiting = self._give_out(jobs)
            if not any(attempt.round == self._round for _, attempt in self._at_work.values()):
                if not waiting:
                    return
                if not self._at_work:
                    raise self._trouble or AdecError("there is no worker to do this")
            for word in self.crew.listen(POLL_SECONDS):
                found = self._at_work.get(word.worker)
                if word.kind == "remark":
                    self._tell(str(word.value))
                elif word.kind == "died" and found is None:
                    self._lose(next((w for w in self._idle if w.number == word.worker), None))
                elif found is None:
                    continue  # of one that was given up before
                elif word.kind == "result":
                    yield from self._take(*found, word.value)
                elif word.kind == "refused":
                    self._trouble = word.value
                    self._give_up(*found, _left_out(found[0], str(word.value)), refill=False)
                else:
                    self._mourn(*found, str(word.value)[:TROUBLE])

    def close(self) -> None:
        """End all workers."""
        self.crew.close()

    def _give_out(self, jobs: Iterator[J]) -> bool:
        """Give every free worker a job; whether there is one that nobody could take."""
        while self._idle or self._may_hire:
            attempt = self._next(jobs)
            if attempt is None:
                return False
            worker = self._idle.popleft() if self._idle else self.crew.hire(self._opener)
            if worker is None:
                self._may_hire = False
                self._again.appendleft(attempt)
                return True
            self._at_work[worker.number] = worker, attempt
            self.crew.give(worker, attempt.job)
        attempt = self._next(jobs) if not self._again else None
        if attempt is not None:
            self._again.append(attempt)
        return bool(self._again)

    def _next(self, jobs: Iterator[J]) -> _Attempt | None:
        if self._again:
            return self._again.popleft()
        for job in jobs:
            return _Attempt(job, self._round)
        return None

    def _take(self, worker: Worker, attempt: _Attempt, value: Any) -> Iterator[tuple[R, Worker]]:
        try:
            if not isinstance(value, bytes):
                raise ValueError("it is not bytes")
            result = self._read(attempt.job, value)
        except ValueError as error:
            line = f"what it sent is not a result: {error}"[:TROUBLE]
            self._trouble = AdecError(f"a worker answered garbage: {line}")
            self._give_up(worker, attempt, _left_out(worker, line), refill=False)
            return
        del self._at_work[worker.number]
        self._proven.add(worker.number)
        self._idle.append(worker)
        if attempt.round == self._round:
            yield result, worker

    def _mourn(self, worker: Worker, attempt: _Attempt, why: str) -> None:
        attempt.ended += 1
        proven = worker.number in self._proven
        self._trouble = AdecError(
            f"{_who(worker)} died: {why}", hint="out of memory? Take fewer --jobs"
        )
        self._give_up(
            worker, attempt, f"{_who(worker)} died, its prompt is asked again", refill=proven
        )
        if attempt.ended >= ENDED:
            raise AdecError(
                f"{attempt.ended} workers died at one prompt, the last one so: {why}",
                hint="what is done is kept; leave that prompt out",
            )

    def _give_up(self, worker: Worker, attempt: _Attempt, line: str, *, refill: bool) -> None:
        del self._at_work[worker.number]
        self._proven.discard(worker.number)
        self.crew.dismiss(worker, refill=refill)
        self._may_hire = self._may_hire or refill
        if attempt.round == self._round:
            self._again.appendleft(attempt)
        if worker.name or refill:
            self._tell(line)

    def _lose(self, worker: Worker | None) -> None:
        """An idle worker died."""
        if worker is not None:
            self._idle.remove(worker)
            self.crew.dismiss(worker, refill=worker.number in self._proven)
            self._may_hire = True


def _who(worker: Worker) -> str:
    return f"the worker {worker.name}" if worker.name else "a process"


def _left_out(worker: Worker, why: str) -> str:
    return f"{_who(worker)} is left out: {why}"
