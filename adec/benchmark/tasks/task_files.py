"""A user's own prompts: JSONL with or without answers, or plain text with one prompt a line."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Literal

import msgspec

from adec.benchmark.tasks.task import Task
from adec.errors import UsageError
from adec.events.hostile_json import JsonReader
from adec.text_file import text_lines

CATEGORY_CHARACTERS = 80
"""Longest name of a category; the rest is cut off."""
LINE_CHARACTERS = 4 * 1024 * 1024
"""Longest line that is read."""


class TaskLine(msgspec.Struct):
    """A line of a JSONL file. Other keys are ignored."""

    prompt: str
    answer: str | int | float | None = None
    match: Literal["exact", "number", "regex", "command"] | None = None
    category: str = ""


_READER: JsonReader[TaskLine] = JsonReader(TaskLine)


def read_tasks(path: Path) -> Iterator[Task]:
    """The tasks of a `.jsonl` file, or the lines of any other file as prompts, read one at a time.

    A JSONL line is an object with `prompt` and, if replies can be judged, `answer` and `match`
    (see `is_match`; without it numbers are compared as numbers, texts exactly). Lines with another
    `category` are reported apart. Blank lines are skipped. Raises UsageError with the number of the
    line that is wrong.
    """
    group = path.stem[:80]
    index = 0
    try:
        with path.open("rb") as file:
            for number, line in _lines(file, path):
                if not line.strip():
                    continue
                where = f"{path}, line {number}"
                if path.suffix == ".jsonl":
                    yield _task(index, group, line, where)
                else:
                    yield Task(index, line.strip(), group)
                index += 1
    except OSError as error:
        raise UsageError(f"the task file {path} cannot be read: {error.strerror}") from error


def _lines(file: BufferedReader, path: Path) -> Iterator[tuple[int, str]]:
    number = 0
    text = text_lines(file)
    while line := text.readline(LINE_CHARACTERS + 1):
        number += 1
        if len(line) > LINE_CHARACTERS:
            raise UsageError(f"{path}, line {number} is longer than {LINE_CHARACTERS:,} characters")
        if "\0" in line:
            raise UsageError(f"{path}, line {number} holds a zero byte: this is no text")
        yield number, line


def _task(index: int, group: str, line: str, where: str) -> Task:
    try:
        found = _READER.read(line.encode())
    except ValueError as error:
        raise UsageError(
            f"{where}: {error}", hint='write {"prompt": "…", "answer": "…", "match": "exact"}'
        ) from None
    if not found.prompt.strip():
        raise UsageError(f"{where} has no prompt", hint='write {"prompt": "…"}')
    kind = found.category[:CATEGORY_CHARACTERS]
    if found.answer is None:
        if found.match is not None:
            raise UsageError(f"{where} has a match but no answer")
        return Task(index, found.prompt, group, kind)
    answer = str(found.answer)
    match = found.match or ("exact" if isinstance(found.answer, str) else "number")
    trouble = _trouble(match, answer)
    if trouble is not None:
        raise UsageError(f"{where}: {trouble}")
    return Task(index, found.prompt, group, kind, match, answer)


def _trouble(match: str, answer: str) -> str | None:
    """Why replies cannot be compared with this answer; None when they can."""
    if match == "regex":
        try:
            re.compile(answer)
        except (re.error, RecursionError, OverflowError) as error:
            return f"the answer is no regular expression: {error}"
    if match == "number" and not re.search(r"\d", answer):
        return f"the answer {answer[:40]!r} is no number"
    if match == "command":
        try:
            words = shlex.split(answer)
        except ValueError as error:
            return f"the command cannot be split: {error}"
        if not words:
            return "the command is empty"
    return None
