"""A user's own prompts: JSONL with or without answers, or plain text with one prompt a line. Read line by line."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from adec.benchmark.tasks.task import USER_MATCHES, Task
from adec.errors import UsageError
from adec.judging.matches import Match

LINE_BYTES = 4 * 1024 * 1024
"""Longest line that is read."""
NESTING = 50
"""Depth of brackets in a line of JSON: what is deeper is no task."""


def read_tasks(path: Path) -> Iterator[Task]:
    """The tasks of a `.jsonl` file, or the lines of any other file as prompts; blank lines are left out.

    A JSONL line is an object with `prompt` and, if replies can be judged, `answer` and `match` (exact, number, regex
    or command; without `match`: number for an answer that is a number, else exact). Other keys are ignored.
    Raises UsageError with the number of the line that is wrong.
    """
    group = path.stem[:80]
    index = 0
    try:
        with path.open("rb") as file:
            for number, line in _lines(file, path):
                text = line.strip()
                if not text:
                    continue
                where = f"{path}, line {number}"
                if path.suffix == ".jsonl":
                    yield _task(index, group, _object(text, where), where)
                else:
                    yield Task(index, text, group)
                index += 1
    except OSError as error:
        raise UsageError(f"the task file {path} cannot be read: {error.strerror}") from error


def _lines(file: BinaryIO, path: Path) -> Iterator[tuple[int, str]]:
    number = 0
    while line := file.readline(LINE_BYTES + 1):
        number += 1
        if len(line) > LINE_BYTES:
            raise UsageError(f"{path}, line {number} is longer than {LINE_BYTES // 2**20} MiB")
        if b"\0" in line:
            raise UsageError(f"{path}, line {number} holds a zero byte: this is no text")
        yield number, line.decode("utf-8-sig" if number == 1 else "utf-8", errors="replace")


def _object(text: str, where: str) -> dict[str, Any]:
    if _depth(text) > NESTING:
        raise UsageError(f"{where} is nested more than {NESTING} deep")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "a number is too long"
        raise UsageError(f"{where} is not JSON: {reason}") from None
    if not isinstance(found, dict):
        raise UsageError(f"{where} is not an object", hint='write {"prompt": "…", "answer": "…"}')
    return found


def _depth(text: str) -> int:
    deepest = depth = 0
    for bracket in re.findall(r"[\[{\]}]", text):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _task(index: int, group: str, found: dict[str, Any], where: str) -> Task:
    prompt = found.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise UsageError(f"{where} has no prompt", hint='write {"prompt": "…"}')
    answer, match = found.get("answer"), found.get("match")
    if answer is None:
        if match is not None:
            raise UsageError(f"{where} has a match but no answer")
        return Task(index, prompt, group)
    if isinstance(answer, bool) or not isinstance(answer, str | int | float):
        raise UsageError(f"{where}: the answer is neither text nor a number")
    return Task(index, prompt, group, "", _match(match, answer, where), str(answer))


def _match(match: Any, answer: str | int | float, where: str) -> Match:
    if match is None:
        return "exact" if isinstance(answer, str) else "number"
    if match not in USER_MATCHES:
        raise UsageError(
            f"{where}: match is {str(match)[:40]!r}", hint=f"one of {', '.join(USER_MATCHES)}"
        )
    text = str(answer)
    if match == "regex":
        try:
            re.compile(text)
        except (re.error, RecursionError, OverflowError) as error:
            raise UsageError(f"{where}: the answer is no regular expression: {error}") from None
    if match == "number" and not re.search(r"\d", text):
        raise UsageError(f"{where}: the answer {text[:40]!r} is no number")
    if match == "command":
        try:
            if not shlex.split(text):
                raise ValueError("it is empty")
        except ValueError as error:
            raise UsageError(f"{where}: the command cannot be split: {error}") from None
    found: Match = match
    return found
