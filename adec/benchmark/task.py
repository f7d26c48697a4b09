"""One thing to be answered, and how a reply to it is judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from adec.practice.tasks import Problem

Match = Literal[
    "exact", "number", "regex", "command", "list", "reordered", "one more", "one less", "one replaced"
]  # fmt: skip
"""exact, number, regex, command: what a user's JSONL may say. The others judge lists, see `judging`."""

USER_MATCHES: tuple[Match, ...] = ("exact", "number", "regex", "command")


@dataclass(frozen=True, slots=True)
class Task:
    """A prompt; `match` is None and `problem` too where nobody knows the answer."""

    index: int
    prompt: str
    group: str
    """Family of the task or name of its file: accuracy is told by group."""
    kind: str = ""
    match: Match | None = None
    answer: str = ""
    """For "command" the command; for the random list edits the list before the edit."""
    given: str = ""
    """The word that "one more" and "one replaced" put in."""
    problem: Problem | None = None
    """A practice problem judges its replies itself."""
    dependence_nats: float | None = None
    """Conditional total correlation of the answer's words given the prompt, where it is known."""

    @property
    def runs_code(self) -> bool:
        """Whether judging executes something."""
        return self.match == "command" or (self.problem is not None and self.problem.form == "code")

    @property
    def has_answer(self) -> bool:
        """Whether a reply can be right or wrong."""
        return self.match is not None or self.problem is not None
