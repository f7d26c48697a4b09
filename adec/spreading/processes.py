"""Workers that are processes of this machine."""

from __future__ import annotations

import multiprocessing
import signal
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from adec.errors import AdecError
from adec.spreading.crew import DeskOpener, Word, Worker, error_of

KINDS = ("remark", "result", "refused", "died")


@dataclass
class _Process:
    process: Any
    connection: Connection


class ProcessCrew:
    """At most `size` spawned processes, each connected by a pipe."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._context = multiprocessing.get_context("spawn")
        self._running: dict[int, _Process] = {}
        self._hired = 0
        self._lost = 0  # that are not to be replaced

    def hire(self, opener: DeskOpener) -> Worker | None:
        """Start a process, unless there are enough."""
        if len(self._running) + self._lost >= self.size:
            return None
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(opener, theirs), daemon=True)
        _start_deaf(process)
        theirs.close()
        self._hired += 1
        self._running[self._hired] = _Process(process, ours)
        return Worker(self._hired)

    def give(self, worker: Worker, job: Any) -> None:
        """Send it through the pipe."""
        with suppress(OSError):
            self._running[worker.number].connection.send(job)

    def listen(self, seconds: float) -> list[Word]:
        """One message of each process that has one."""
        numbers = {id(p.connection): number for number, p in self._running.items()}
        ready = wait([p.connection for p in self._running.values()], seconds)
        return [_heard(numbers[id(end)], end) for end in ready if isinstance(end, Connection)]

    def dismiss(self, worker: Worker, *, refill: bool) -> None:
        """End a process."""
        process = self._running.pop(worker.number, None)
        self._lost += not refill
        if process is not None:
            _end([process])

    def close(self) -> None:
        """End all processes."""
        running, self._running = list(self._running.values()), {}
        _end(running)


def _heard(number: int, connection: Connection) -> Word:
    try:
        kind, value = connection.recv()
    except (EOFError, OSError):
        return Word(number, "died", "it closed its pipe")
    return Word(number, kind, value) if kind in KINDS else Word(number, "died", "it said garbage")


def _start_deaf(process: Any) -> None:
    """Start it with Ctrl-C ignored from its first instruction: terminals send it to the group."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process.start()
    finally:
        signal.signal(signal.SIGINT, before)


def _end(processes: list[_Process]) -> None:
    for one in processes:
        with suppress(OSError):
            one.connection.close()
        one.process.terminate()
    for one in processes:
        one.process.join(5)
        if one.process.is_alive():
            one.process.kill()
            one.process.join()


def _work(opener: DeskOpener, connection: Connection) -> None:
    """The life of a process: open the desk at the first job, then do what comes."""
    desk = None
    told = 0
    try:
        while True:
            job = connection.recv()
            if desk is None:
                desk = opener()
            done = desk.do(job)
            for remark in desk.remarks[told:]:
                connection.send(("remark", remark))
            told = len(desk.remarks)
            connection.send(("result", done))
    except AdecError as error:
        with suppress(OSError):
            connection.send(("refused", error_of(error)))
    except (EOFError, OSError):
        pass  # the parent has gone
    finally:
        if desk is not None:
            desk.close()
