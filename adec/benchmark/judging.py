"""Whether a reply is right. None where that is not known, or would run code that nobody allowed."""

from __future__ import annotations

import math
import re
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from adec.benchmark.task import Task
from adec.judging.confine import succeeds
from adec.judging.replies import answer_of

REPLY = 100_000
"""Characters of a reply that are judged: what a pattern may search is bounded."""
PATTERN_SECONDS = 1.0

_NUMBER = re.compile(r"-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d{1,3})?")


def judge(task: Task, reply: str, *, allow_exec: bool) -> bool | None:
    """Whether `reply` is right.

    *exact*: the reply, or what follows its last "Answer:", is the answer, but for space around it. *number*: the last
    number of the reply (or of what follows "Answer:") equals the answer; commas between thousands are allowed.
    *regex*: the pattern is found somewhere. *command*: the command, given the reply on standard input, exits with 0.
    *list*: the words after "Answer:" (or of the whole reply) are the answer's. *reordered*: the same words in another
    order. *one more*, *one less*, *one replaced*: the list after one such edit at any one place.
    """
    if not task.has_answer or (task.runs_code and not allow_exec):
        return None
    reply = reply[:REPLY]
    if task.problem is not None:
        return task.problem.check(reply)
    if task.match == "command":
        return succeeds(task.answer, reply)
    if task.match == "regex":
        return _found(task.answer, reply)
    said = answer_of(reply)
    if task.match == "exact":
        return task.answer.strip() in (reply.strip(), said)
    if task.match == "number":
        return _same_number(task.answer, reply if said is None else said)
    return _edit_is_right(task, _words(reply if said is None else said))


def number_of(text: str) -> float | None:
    """The last number in a text."""
    found = _NUMBER.findall(text)
    return float(found[-1].replace(",", "")) if found else None


def _same_number(answer: str, said: str) -> bool:
    wanted, got = number_of(answer), number_of(said)
    return wanted is not None and got is not None and math.isclose(wanted, got, rel_tol=1e-9)


def _found(pattern: str, reply: str) -> bool:
    # a pattern may take exponential time; Python's matcher lets a signal through
    try:
        with _time_limit(PATTERN_SECONDS):
            return re.search(pattern, reply) is not None
    except (TimeoutError, RecursionError):
        return False


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    if not hasattr(signal, "setitimer") or (
        threading.current_thread() is not threading.main_thread()
    ):
        yield
        return

    def expire(number: int, frame: FrameType | None) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _words(text: str) -> list[str]:
    return text.strip().removesuffix(".").replace(",", " ").split()


def _edit_is_right(task: Task, got: list[str]) -> bool:
    words = task.answer.split()
    if task.match == "list":
        return got == words
    if task.match == "reordered":
        return got != words and Counter(got) == Counter(words)
    if task.match == "one less":
        return any(got == words[:i] + words[i + 1 :] for i in range(len(words)))
    if task.match == "one more":
        return any(got == [*words[:i], task.given, *words[i:]] for i in range(len(words) + 1))
    return any(got == [*words[:i], task.given, *words[i + 1 :]] for i in range(len(words)))
