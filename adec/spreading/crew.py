"""What workers are to those who have work for them, whether processes here or on other machines.

A worker opens a desk once, with all that it needs, and then does one job after the other. What it
sends back is bytes, which are read as strictly as a file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from adec.errors import AdecError


class Desk(Protocol):
    """What a worker opens: models, and all else that its jobs need."""

    @property
    def remarks(self) -> Sequence[str]:
        """Lines worth telling; those that come with a job are told after it."""
        ...

    def do(self, job: Any) -> bytes:
        """Do one job. Raises AdecError when this worker cannot do any."""
        ...

    def close(self) -> None: ...


DeskOpener = Callable[[], Desk]
"""Runs in the worker; picklable. Raises AdecError."""


@dataclass
class Worker:
    """One of a crew. Its number is never given to another."""

    number: int
    name: str = ""
    """Of a worker on another machine; empty for a process of this one, whose times are its own."""
    machine: str = ""
    """Its processor and cores, once they are known."""


@dataclass(frozen=True)
class Word:
    """What a worker said.

    "result": bytes. "remark": a line. "refused": an AdecError, it will do no job. "died": why.
    """

    worker: int
    kind: Literal["result", "remark", "refused", "died"]
    value: Any


class Crew(Protocol):
    """Workers of one kind. Not thread-safe."""

    @property
    def size(self) -> int:
        """Most workers at a time."""
        ...

    def hire(self, opener: DeskOpener) -> Worker | None:
        """Start one more; None when there are as many as can be. Raises AdecError."""
        ...

    def give(self, worker: Worker, job: Any) -> None:
        """Hand a job to a worker that has none. Never fails: a dead one is heard of later."""
        ...

    def listen(self, seconds: float) -> list[Word]:
        """What was said, after at most about that time."""
        ...

    def dismiss(self, worker: Worker, *, refill: bool) -> None:
        """End a worker. `refill`: another may be hired in its place."""
        ...

    def close(self) -> None:
        """End all of them. Calling it twice is harmless."""
        ...


def error_of(thing: Any) -> AdecError:
    """What a worker sent as its error, or a plain one where it sent something else."""
    return thing if isinstance(thing, AdecError) else AdecError("a worker failed and said garbage")
