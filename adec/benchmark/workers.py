"""Runs the prompts: in this process, or by workers that each load the models."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field

from msgspec.structs import replace as changed

from adec.benchmark.decoders import Interrupted
from adec.benchmark.runner import Bench
from adec.benchmark.samples import PromptResult, read_result
from adec.benchmark.tasks.task import Task
from adec.events.hostile_json import encode
from adec.spreading.crew import Crew
from adec.spreading.dispatcher import Dispatcher

Opener = Callable[[], Bench]
Tell = Callable[[str], None]


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


def run_spread(
    crew: Crew, opener: Opener, tasks: Iterator[Task], interrupted: Interrupted, tell: Tell
) -> Generator[PromptResult, None, None]:
    """The same by a crew, which is closed at the end; `opener` must be picklable.

    Each worker has one prompt at a time, which bounds memory. When interrupted, prompts under way
    are dropped. Raises AdecError when no worker is left.
    """
    work = Dispatcher(crew, DeskOfBench(opener), _read, tell)
    try:
        tell("loading the models and warming up")
        with closing(work.ask(tasks, interrupted)) as done:
            for result, worker in done:
                yield changed(result, worker=worker.name, machine=worker.machine)
    finally:
        work.close()


@dataclass
class DeskOfBench:
    """Opens a bench in a worker, and is its desk: warm up on the first task, then answer."""

    opener: Opener
    bench: Bench | None = None
    warm: bool = False
    remarks: list[str] = field(default_factory=list)

    def __call__(self) -> DeskOfBench:
        """As a `DeskOpener`. Raises AdecError."""
        return DeskOfBench(self.opener, self.opener())

    def do(self, job: Task) -> bytes:
        """The answers to a prompt. Raises AdecError."""
        assert self.bench is not None
        if not self.warm:
            self.bench.warm(job, _never)
            self.warm, self.remarks = True, self.bench.remarks
        result = self.bench.run(job, _never)
        assert result is not None, "nothing interrupts a worker"
        return encode(result).encode()

    def close(self) -> None:
        """Free the engines."""
        if self.bench is not None:
            self.bench.close()


def _read(task: Task, data: bytes) -> PromptResult:
    return read_result(data, task.index)


def _never() -> bool:
    return False
