"""One thing to be answered, and how a reply to it is judged."""

from __future__ import annotations

from dataclasses import dataclass

from adec.judging.matches import REPLY, Match, is_match
from adec.practice.tasks import Problem


@dataclass(frozen=True, slots=True)
class Task:
    """A prompt. Both `match` and `problem` are None where nobody knows the answer."""

    index: int
    prompt: str
    group: str
    """Family of the task or name of its file: accuracy is reported by group."""
    kind: str = ""
    """Kind within the group, such as a category: speed and accuracy are reported for each."""
    match: Match | None = None
    answer: str = ""
    """For the match "command" the command; for edits at any place the list before the edit."""
    given: str = ""
    """The word that the matches "one more" and "one replaced" put in."""
    problem: Problem | None = None
    """A practice problem judges its replies itself."""
    dependence_nats: float | None = None
    """Conditional total correlation of the answer's words given the prompt, in nats, if known."""

    @property
    def runs_code(self) -> bool:
        """Whether judging executes something."""
        return self.match == "command" or (self.problem is not None and self.problem.form == "code")

    def judge(self, reply: str, *, allow_exec: bool) -> bool | None:
        """Whether a reply is right; None where nobody knows, or judging would run code unasked."""
        if self.runs_code and not allow_exec:
            return None
        if self.problem is not None:
            return self.problem.check(reply[:REPLY])
        return None if self.match is None else is_match(reply, self.match, self.answer, self.given)
