"""Where a copy goes on after an edit: the place in the text that was copied, kept through a change.

An answer that gives a text back with changes copies long stretches of it. A drafter that finds its
place by what stands at the end of the answer loses it at every change: what follows is too short to
be told from other places. The cursor keeps the place. Where a token differs from the copied text,
it may stand for one of it, be put in between, or come after some that were left out; each is a
guess of where the copy goes on, until the next tokens say which is right.
"""

from __future__ import annotations

from collections.abc import Sequence

COPYING = 6
"""Tokens that must have been copied in a row before a change is one of a copy."""
ANEW = 8
"""Tokens copied since the change from which on a match at the end of the text is as sure."""
AHEAD = 24
"""Tokens of the copied text among which what goes on after a gap is sought."""
LONGEST = 48
"""Tokens that a change may have."""
IN_PLACE = 4
"""Tokens that may stand for one."""
SOUGHT, REPLACED, PUT_BETWEEN = 0.5, 0.3, 0.12
"""Chances of the three guesses, of which rates of acceptance make what they are worth."""
CHANGED_LONG = 0.2
"""Chance of the last, once more than `IN_PLACE` tokens were put in between."""
GONE_ON = (0.8, 0.85, 0.9, 0.95)
"""Chance of the next token by how many were copied since the change."""

Guess = tuple[int, float]
"""An index of the text, and the chance that its token comes next."""


class CopyCursor:
    """Follows a copy, and keeps its place over a change."""

    def __init__(self) -> None:
        self.text: list[int] = []
        """All that was fed."""
        self.forget()

    def forget(self) -> None:
        """Lose the place, as where another text begins."""
        self._next: int | None = None  # what is copied next, while a copy goes on
        self._run = 0
        self._left: int | None = None  # where a copy was left
        self._changed = 0  # tokens since then
        self._regained: list[int] = []  # guesses of which the last tokens were right
        self._since = 0  # tokens since the change that these have been right

    def add(self, token: int, matched: int, first: int) -> None:
        """Take in the next token.

        `matched`: tokens at the end of the text, with this one, that stood in it before; `first`:
        the index of what followed them there.
        """
        text = self.text
        going_on = self._next is not None and text[self._next] == token
        regained = [index + 1 for index in self._guessed() if text[index] == token]
        if going_on:
            assert self._next is not None
            self._next += 1
            self._run += 1
        elif self._next is not None:
            self._left, self._changed = (self._next, 1) if self._run >= COPYING else (None, 0)
            self._next = None
        elif self._left is not None:
            self._changed += 1
            self._regained = regained
            self._since = self._since + 1 if regained else 0
            if self._since >= ANEW:
                self._next, self._run = regained[0], self._since
                self._give_up()
            elif self._changed > LONGEST:
                self._give_up()
        text.append(token)
        if self._next is None and matched >= ANEW:
            self._next, self._run = first, matched
            self._give_up()

    def guesses(self) -> list[Guess]:
        """Where the copy may go on, each with its chance; none unless it was left of late."""
        if self._regained:
            chance = GONE_ON[min(self._since, len(GONE_ON)) - 1]
            return [(self._regained[0], chance)]
        left, text = self._left, self.text
        if left is None:
            return []
        found: dict[int, float] = {}
        sought = self._after_gap(left)
        if sought is not None:
            found[sought] = SOUGHT
        if self._changed <= IN_PLACE:
            found.setdefault(left + 1, REPLACED)
            found.setdefault(left, PUT_BETWEEN)
        else:
            found.setdefault(left, CHANGED_LONG)
        return [(index, chance) for index, chance in found.items() if index < len(text)]

    def _guessed(self) -> Sequence[int]:
        """The places that the next token is held against."""
        if self._regained:
            return self._regained
        return [index for index, _ in self.guesses()]

    def _after_gap(self, left: int) -> int | None:
        """The first place from `left` on that stands behind the token just written."""
        text, last = self.text, self.text[-1]
        for index in range(left, min(left + AHEAD, len(text) - 1)):
            if text[index - 1] == last:
                return index
        return None

    def _give_up(self) -> None:
        self._left, self._changed, self._since = None, 0, 0
        self._regained = []
