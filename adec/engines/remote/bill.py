"""What was bought of a server: requests, and tokens read and written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from adec.errors import EngineError


@dataclass(slots=True)
class Bill:
    """Counts from the server's own numbers where it tells them."""

    budget: int | None = None
    """Tokens, read and written together, that may be bought; None: any number."""
    requests: int = 0
    read: int = 0
    written: int = 0
    unseen: int = 0
    """Tokens at most that were written after a request was ended early, and are charged for."""

    @property
    def bought(self) -> int:
        """Tokens at most that were paid for."""
        return self.read + self.written + self.unseen

    def ask(self, prompt: int, wanted: int) -> int:
        """How many of `wanted` tokens may be asked for behind `prompt` ones.

        Raises EngineError when not even one may.
        """
        if self.budget is None:
            return wanted
        left = self.budget - self.bought - prompt
        if left < 1:
            raise EngineError(
                f"the budget of {self.budget:,} tokens does not hold another request:"
                f" {self.bought:,} were bought, and it would read {prompt:,}",
                hint="give a larger --budget-tokens; what is written stays",
            )
        return min(wanted, left)

    def summary(self) -> dict[str, Any]:
        """As in an answer's summary."""
        return {
            "requests": self.requests,
            "tokens_read": self.read,
            "tokens_written": self.written,
            **({"tokens_unseen": self.unseen} if self.unseen else {}),
            **({"budget": self.budget} if self.budget is not None else {}),
        }

    def plus(self, after: Bill, before: Bill) -> Bill:
        """This and what was bought between two moments of another bill."""
        return Bill(
            after.budget,
            self.requests + after.requests - before.requests,
            self.read + after.read - before.read,
            self.written + after.written - before.written,
            self.unseen + after.unseen - before.unseen,
        )

    def copy(self) -> Bill:
        """The same counts, to be compared with later."""
        return Bill(self.budget, self.requests, self.read, self.written, self.unseen)
