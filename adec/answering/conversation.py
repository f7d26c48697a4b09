"""A conversation: what was said, and the question that comes next with all of it before it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from adec.answering.prompt import Exchanged
from adec.answering.session import Question


class Conversation:
    """Questions and answers so far; `like` is what every question has in common."""

    def __init__(self, like: Question) -> None:
        self.like = like
        self.exchanges: list[Exchanged] = []

    def ask(self, text: str) -> Question:
        """The next question."""
        return replace(self.like, text=text, earlier=tuple(self.exchanges), resume=True)

    def keep(self, text: str, answer: str) -> None:
        """What was asked and answered; an answer without a word leaves no trace."""
        if answer.strip():
            self.exchanges.append((text, answer))

    def take_back(self) -> Exchanged | None:
        """Forget the last question and its answer, and return them; None if there are none."""
        return self.exchanges.pop() if self.exchanges else None

    def clear(self) -> None:
        """Forget what was said; the system message stays."""
        self.exchanges.clear()

    def as_text(self) -> str:
        """For a person to read."""
        parts = [] if self.like.system is None else [f"System: {self.like.system}"]
        for asked, answer in self.exchanges:
            parts += [f"You: {asked}", f"Model: {answer.strip()}"]
        return "\n\n".join(parts) + "\n"

    def as_json(self) -> str:
        """As messages, in the form that chat programs exchange."""
        messages: list[dict[str, Any]] = []
        if self.like.system is not None:
            messages.append({"role": "system", "content": self.like.system})
        for asked, answer in self.exchanges:
            messages.append({"role": "user", "content": asked})
            messages.append({"role": "assistant", "content": answer})
        return json.dumps(messages, ensure_ascii=False, indent=1) + "\n"
