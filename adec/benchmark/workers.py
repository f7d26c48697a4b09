"""Runs the prompts: in this process, or in several that each load the models."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any

from adec.benchmark.decoders import Interrupted
from adec.benchmark.runner import Bench
from adec.benchmark.samples import PromptResult
from adec.benchmark.tasks.task import Task
from adec.errors import AdecError

Opener = Callable[[], Bench]
Tell = Callable[[str], None]

_POLL_SECONDS = 0.2


def run_here(
    opener: Opener, tasks: Iterator[Task], interrupted: Interrupted, tell: Tell
) -> Generator[PromptResult, None, None]:
    """One prompt after the other in this process. Ends early when interrupted. Raises AdecError."""
    first = next(tasks, None)
    if first is None:
        return
    bench = opener()
    try:
        tell("warming up")
        bench.warm(first, interrupted)
        for remark in bench.remarks:
            tell(remark)
        task: Task | None = first
        while task is not None and not interrupted():
            result = bench.run(task, interrupted)
            if result is None:
                return
            yield result
            task = next(tasks, None)
    finally:
        bench.close()


def run_in_processes(
    opener: Opener, tasks: Iterator[Task], jobs: int, interrupted: Interrupted, tell: Tell
) -> Generator[PromptResult, None, None]:
    """The same in `jobs` processes; `opener` must be picklable.

    Each process has one prompt at a time, which bounds memory. When interrupted, prompts under way
    are dropped. Raises AdecError when a process fails.
    """
    context = multiprocessing.get_context("spawn")
    workers: list[tuple[Any, Connection]] = []
    try:
        busy: list[Connection] = []
        for _ in range(jobs):
            task = next(tasks, None)
            if task is None:
                break
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(opener, theirs), daemon=True)
            _start_deaf(process)
            theirs.close()
            workers.append((process, ours))
            ours.send(task)
            busy.append(ours)
        tell("loading the models and warming up")
        while busy and not interrupted():
            for ready in wait(busy, _POLL_SECONDS):
                assert isinstance(ready, Connection)
                kind, value = _receive(ready)
                if kind == "remark":
                    tell(value)
                    continue
                if kind == "error":
                    raise value
                yield value
                task = next(tasks, None)
                if task is None:
                    busy.remove(ready)
                    ready.send(None)
                else:
                    ready.send(task)
    finally:
        _dismiss(workers)


def _start_deaf(process: Any) -> None:
    """Start it with Ctrl-C ignored from its first instruction: terminals send it to the group."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process.start()
    finally:
        signal.signal(signal.SIGINT, before)


def _receive(connection: Connection) -> tuple[str, Any]:
    try:
        message: tuple[str, Any] = connection.recv()
    except (EOFError, OSError):
        raise AdecError(
            "a process of the bench died", hint="out of memory? Take fewer --jobs"
        ) from None
    return message


def _dismiss(workers: list[tuple[Any, Connection]]) -> None:
    for process, connection in workers:
        with suppress(OSError):
            connection.close()
        process.terminate()
    for process, _ in workers:
        process.join(5)
        if process.is_alive():
            process.kill()
            process.join()


def _work(opener: Opener, connection: Connection) -> None:
    """The life of a worker: load, warm up on the first task, answer until None comes."""
    bench: Bench | None = None
    try:
        while (task := connection.recv()) is not None:
            if bench is None:
                bench = opener()
                bench.warm(task, _never)
                for remark in bench.remarks:
                    connection.send(("remark", remark))
            connection.send(("result", bench.run(task, _never)))
    except AdecError as error:
        with suppress(OSError):
            connection.send(("error", error))
    except (EOFError, OSError):
        pass  # the parent has gone
    finally:
        if bench is not None:
            bench.close()


def _never() -> bool:
    return False
