"""One thing to be answered, and how a reply to it is judged."""

from __future__ import annotations

from dataclasses import dataclass

from adec.judging.matches import REPLY, Match, is_match
from adec.practice.tasks import Problem

USER_MATCHES: tuple[Match, ...] = ("exact", "number", "regex", "command")
"""What a user's JSONL file may name; the others judge edited lists."""


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

    def judge(self, reply: str, *, allow_exec: bool) -> bool | None:
        """Whether a reply is right; None where that is not known, or would run code without leave."""
        if not self.has_answer or (self.runs_code and not allow_exec):
            return None
        if self.problem is not None:
            return self.problem.check(reply[:REPLY])
        assert self.match is not None
        return is_match(reply, self.match, self.answer, self.given)
