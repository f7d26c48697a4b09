"""Ways to share an answer between a user's small model and a server's large one.

A way says what an answer asks of the server: turns, each a request. What it assumes:

- The server keeps the prefix of every conversation. It reads a prompt once, and of an answer only
  what it has not read: with drafts these are the drafts, with trust what the small model wrote.
- The small model goes on along the large one's answer, also behind a token of its own that differs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

SURE = 0.3
"""Nats of entropy up to which a draft goes on, where nothing else is said."""
NEVER = float("inf")


@dataclass(frozen=True)
class Trace:
    """One recorded answer."""

    prompt: int
    agrees: tuple[bool, ...]
    entropy: tuple[float, ...]


@dataclass(frozen=True)
class Turn:
    """What one request asks of the server, and what the user's machine did before it."""

    drafted: int
    """Forwards of the small model."""
    read: int
    """Tokens that the server reads in one forward, the one whose successor is wanted included."""
    written: int
    """Tokens that the server then writes, one of them by that forward."""


@dataclass(frozen=True)
class Way:
    """A way to answer: its name and its turns on a trace, the small model's own tail last."""

    name: str
    turns: Callable[[Trace], list[Turn]]
    unlike: Callable[[Trace], int] = lambda trace: 0
    """Tokens of the answer that are not the large model's."""


def plain() -> Way:
    """The server writes all."""
    return Way("plain", lambda trace: [Turn(0, trace.prompt, len(trace.agrees))])


def speculation(longest: int, sure: float = SURE) -> Way:
    """Drafts of at most `longest` tokens; the server judges each in one forward. Exact."""

    def turns(trace: Trace) -> list[Turn]:
        found, place, size = [], 0, len(trace.agrees)
        unread = trace.prompt
        while place < size:
            drafts = 0
            while drafts < min(longest, size - place - 1) and trace.entropy[place + drafts] <= sure:
                drafts += 1
            stands = 0
            while stands < drafts and trace.agrees[place + stands]:
                stands += 1
            looked = drafts + (drafts < min(longest, size - place - 1))
            found.append(Turn(looked, unread + drafts, 1))
            place += stands + 1
            unread = 1
        return found

    name = f"drafts of {longest}" + ("" if sure == SURE else f", {sure:g} nats")
    return Way(name, turns)


def trust(sure: float) -> Way:
    """EAD: the small model writes while it is sure, the server writes one token where it is not."""

    def turns(trace: Trace) -> list[Turn]:
        found, unread, written = [], trace.prompt, 0
        for nats in trace.entropy:
            if nats <= sure:
                written += 1
                unread += 1
                continue
            # the small model has looked at the unsure position, too
            found.append(Turn(written + 1, unread, 1))
            unread, written = 1, 0
        return [*found, Turn(written, 0, 0)]

    def unlike(trace: Trace) -> int:
        pairs = zip(trace.entropy, trace.agrees, strict=True)
        return sum(nats <= sure and not same for nats, same in pairs)

    return Way(f"EAD at {sure:g} nats", turns, unlike)
