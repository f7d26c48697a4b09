"""Where tasks come from, by the words of `--task`: generated families, or a user's file."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from adec.benchmark.tasks import dependence, parallelbench
from adec.benchmark.tasks.task import Task
from adec.benchmark.tasks.task_files import read_tasks
from adec.errors import UsageError
from adec.places import typed_path
from adec.practice.tasks import FAMILIES, problems

GENERATED = 50
"""Prompts of a generated task where --prompts does not say how many."""


@dataclass(frozen=True)
class TaskSource:
    """A stream of tasks of known length that can be started anew."""

    name: str
    count: int
    identity: str
    """Changes whenever the tasks do: a stopped bench resumes only on the same ones."""
    begin: Callable[[], Iterator[Task]]


def _generated(seed: int) -> dict[str, Callable[[], Iterator[Task]]]:
    """The endless streams of tasks that `--task` names."""

    def practice(families: list[str]) -> Callable[[], Iterator[Task]]:
        return lambda: _practice(seed, families)

    def lists(kinds: list[str]) -> Callable[[], Iterator[Task]]:
        return lambda: dependence.tasks(seed, kinds)

    return {
        "practice": practice(list(FAMILIES)),
        **{_word(family): practice([family]) for family in FAMILIES},
        "dependence": lists(list(dependence.PROMPTS)),
        "parallelbench": lambda: parallelbench.tasks(seed, parallelbench.KINDS),
        **{_word(kind): lists([kind]) for kind in dependence.PROMPTS},
    }


def names() -> list[str]:
    """The words that `--task` knows, apart from files."""
    return list(_generated(0))


def find_source(words: Sequence[str], prompts: int | None, seed: int) -> TaskSource:
    """The tasks that `words` name, one after the other, each with at most `prompts` prompts.

    Raises UsageError.
    """
    parts = [_source(word, prompts, seed) for word in words]
    if len(parts) == 1:
        return parts[0]

    def begin() -> Iterator[Task]:
        index = 0
        for part in parts:
            for task in part.begin():
                yield replace(task, index=index)
                index += 1

    return TaskSource(
        ", ".join(part.name for part in parts),
        sum(part.count for part in parts),
        " ".join(part.identity for part in parts),
        begin,
    )


def _source(word: str, prompts: int | None, seed: int) -> TaskSource:
    name, generated = _word(word), _generated(seed)
    if name in generated:
        count = GENERATED if prompts is None else prompts
        identity = f"{name}/{seed}/{count}"
        return TaskSource(name, count, identity, lambda: islice(generated[name](), count))
    path = typed_path(word)
    if not path.is_file():
        near = difflib.get_close_matches(name, generated, n=1)
        hint = f"did you mean {near[0]}?" if near else f"a file, or one of {', '.join(generated)}"
        raise UsageError(f"there is no task and no file {word!r}", hint=hint)
    return _file(path, prompts)


def _practice(seed: int, families: list[str]) -> Iterator[Task]:
    """Held-out problems, the families in turn."""
    streams = [problems("test", seed, [family]) for family in families]
    index = 0
    while True:
        for stream in streams:
            problem = next(stream)
            yield Task(index, problem.prompt, problem.family, problem.kind, problem=problem)
            index += 1


def _file(path: Path, prompts: int | None) -> TaskSource:
    """Reads the whole file once, so that a broken line is reported before anything runs."""
    count = sum(1 for _ in islice(read_tasks(path), prompts))
    if not count:
        raise UsageError(f"the task file {path} has no prompts")
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    identity = f"{path.suffix}/{digest.hexdigest()}/{count}"
    return TaskSource(path.name, count, identity, lambda: islice(read_tasks(path), count))


def _word(name: str) -> str:
    return name.replace(" ", "-")
