"""Compares a reply with the answer that was expected."""

from __future__ import annotations

import math
import re
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Literal

from adec.judging.sandbox import succeeds

Match = Literal[
    "exact", "number", "regex", "command",
    "list", "reordered", "one more", "one less", "one replaced", "latin square", "all words",
]  # fmt: skip

REPLY = 100_000
"""Characters of a reply that are judged: this bounds what a pattern may search."""
PATTERN_SECONDS = 1.0
"""Of processor time, so that a busy machine finds what an idle one does."""

_ANSWER = re.compile(r"Answer:\s*([^\n]*)")
_FENCE = re.compile(r"```(?:python)?\n(.*?)(?:```|\Z)", re.DOTALL)
_WORD = re.compile(r"\w+")
_NUMBER = re.compile(r"-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d{1,3})?")


def answer_of(text: str) -> str | None:
    """What follows the last `Answer:` of a reply, without its full stop."""
    found = _ANSWER.findall(text)
    return str(found[-1]).strip().removesuffix(".").rstrip() if found else None


def code_of(text: str) -> str:
    """The Python source in a reply: its first fenced block, or all of it."""
    fenced = _FENCE.search(text)
    return fenced.group(1) if fenced else text


def is_match(reply: str, match: Match, answer: str, given: str = "") -> bool:
    """Whether `reply` is right.

    *exact*: the reply, or what follows its last "Answer:", equals the answer up to white space at
    its ends. *number*: the last number of the reply (or of what follows "Answer:") equals the
    answer; commas between thousands are allowed. *regex*: the pattern occurs somewhere in the
    reply. *command*: the command reads the reply on standard input and exits with 0.

    The others compare the words after "Answer:" (or those of the whole reply) with the words of
    the answer. *list*: they are equal. *reordered*: the same words in another order. *one less*:
    one word is left out. *one more*, *one replaced*: `given` is inserted, or replaces one word.
    """
    reply = reply[:REPLY]
    if match == "command":
        return succeeds(answer, reply)
    if match == "regex":
        return _search(answer, reply)
    part = answer_of(reply)
    if match == "exact":
        return answer.strip() in (reply.strip(), part)
    if part is None:
        part = reply
    if match == "number":
        return _same_number(answer, part)
    if match == "all words":
        return {*answer.lower().split()} <= {*_WORD.findall(part.lower())}
    got, words = part.strip().removesuffix(".").replace(",", " ").split(), answer.split()
    if match == "list":
        return got == words
    if match == "latin square":
        return _is_latin(got, words)
    if match == "reordered":
        return got != words and Counter(got) == Counter(words)
    if match == "one more":
        return any(got == [*words[:i], given, *words[i:]] for i in range(len(words) + 1))
    put = [] if match == "one less" else [given]
    return any(got == words[:i] + put + words[i + 1 :] for i in range(len(words)))


def _is_latin(got: list[str], symbols: list[str]) -> bool:
    """Whether the words, row by row, are a square in which rows and columns have every symbol."""
    order, wanted = len(symbols), set(symbols)
    rows = [got[at : at + order] for at in range(0, len(got), order)]
    if len(got) != order * order:
        return False
    return all(set(line) == wanted for line in (*rows, *zip(*rows, strict=True)))


def _same_number(answer: str, reply: str) -> bool:
    wanted, got = _last_number(answer), _last_number(reply)
    return wanted is not None and got is not None and math.isclose(wanted, got, rel_tol=1e-9)


def _last_number(text: str) -> float | None:
    found = _NUMBER.findall(text)
    return float(found[-1].replace(",", "")) if found else None


def _search(pattern: str, reply: str) -> bool:
    # a pattern may take exponential time; Python's matcher lets a signal through
    try:
        with _time_limit(PATTERN_SECONDS):
            return re.search(pattern, reply) is not None
    except (TimeoutError, RecursionError):
        return False


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the block; only the main thread can be interrupted so."""
    on_main_thread = threading.current_thread() is threading.main_thread()
    if not (hasattr(signal, "setitimer") and on_main_thread):
        yield
        return

    def expire(number: int, frame: FrameType | None) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGVTALRM, expire)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
