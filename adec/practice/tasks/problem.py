"""A practice problem: a prompt, a solution, and a check of replies."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from hashlib import blake2s
from typing import Literal

from adec.judging.matches import answer_of, code_of
from adec.judging.sandbox import passes

Form = Literal["text", "list", "any order", "code"]
Split = Literal["train", "test"]

TEST_SHARE = 16  # one key in so many belongs to the test split


@dataclass(frozen=True, slots=True)
class Problem:
    """A task with an answer that can be checked.

    `key` identifies the content, whatever its wording, and decides the split. So no test problem
    gets into the training data in other words.
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
        """The split of this problem, the same on every machine."""
        return split_of(f"{self.family}/{self.kind}/{self.key}")

    def check(self, text: str) -> bool:
        """Whether a reply is right. Code runs in a sandbox."""
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
