"""A practice problem: what is asked, one good solution, and how a reply is judged."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from hashlib import blake2s
from typing import Literal

from adec.judging.matches import answer_of, code_of
from adec.judging.sandbox import passes

Form = Literal["text", "list", "any order", "code"]
Split = Literal["train", "test"]

TEST_SHARE = 16  # one key in this many is kept for the test split


@dataclass(frozen=True, slots=True)
class Problem:
    """One task with a checkable answer.

    `key` names the content without its wording; it decides the split, so that a test problem does
    not reach the training data in other words.
    """

    family: str
    kind: str
    prompt: str
    solution: str
    answer: str
    key: str
    form: Form = "text"
    tests: tuple[str, ...] = field(default=())

    @property
    def split(self) -> Split:
        """The side on which this problem lies, the same on every machine."""
        return split_of(f"{self.family}/{self.kind}/{self.key}")

    def check(self, text: str) -> bool:
        """Whether a reply is right. Code is run, in a process of its own with limits."""
        if self.form == "code":
            return passes(code_of(text), self.tests)
        found = answer_of(text)
        if found is None:
            return False
        if self.form == "list":
            return _items(found) == _items(self.answer)
        if self.form == "any order":
            return Counter(_items(found)) == Counter(_items(self.answer))
        return found == self.answer


def split_of(key: str) -> Split:
    """The split of a key."""
    digest = blake2s(key.encode(), digest_size=4).digest()
    return "test" if int.from_bytes(digest, "big") % TEST_SHARE == 0 else "train"


def _items(text: str) -> list[str]:
    return text.replace(",", " ").split()
