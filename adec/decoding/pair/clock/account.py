"""What a drafter has won and lost so far, in milliseconds: a drafter in debt is watched, not tried.

The forecast of an offer is a guess until drafts of its kind were judged, and so is the choice of
the best of several guesses. The account bounds what wrong guesses may cost: a drafter may lose a
share of the answer's time, and one round more, since the round that overdraws it was begun before.
A drafter without a model then goes on without cost: its offers are compared with what is committed
in their place, and what they would have won fills the account again.
"""

from __future__ import annotations

from collections.abc import Sequence

from adec.decoding.pair.drafters.drafter import Proposal
from adec.tree import ROOT

LOSABLE = 0.01
"""Share of an answer's time that a drafter may lose."""
CREDIT = 4.0
"""Plain rounds that a drafter may be in credit at most: a text that was predictable for long may
stop being so."""
DEBT = 4.0
"""Plain rounds that a drafter may be in debt at most, so that a few good offers clear it."""


class Account:
    """Milliseconds that one drafter won or lost against plain decoding in this answer."""

    def __init__(self) -> None:
        self.balance_ms = 0.0
        self._net_ms = 0.0  # won less lost in this answer, not bounded
        self._watched: Proposal | None = None
        self._node = ROOT  # how far the watched proposal has been right
        self._right = 0
        self._extra_ms = 0.0

    def new_answer(self) -> None:
        """Debts stay: offers of the new answer clear them as soon as they are right.

        What was lost in an answer that won more is no debt: it was paid for.
        """
        self.balance_ms = 0.0 if self._net_ms > 0 else min(0.0, self.balance_ms)
        self._net_ms = 0.0
        self._watched = None

    @property
    def is_watching(self) -> bool:
        """Whether a proposal is followed."""
        return self._watched is not None

    def is_overdrawn(self, run_ms: float) -> bool:
        """Whether it has lost more than its share of `run_ms`, the answer's time so far."""
        return self.balance_ms < -LOSABLE * run_ms

    def book(self, won_ms: float, plain_ms: float) -> None:
        """Enter a round that took `won_ms` less than plain decoding would have for its tokens."""
        self._net_ms += won_ms
        self._enter(won_ms, plain_ms)

    def _enter(self, won_ms: float, plain_ms: float) -> None:
        balance = self.balance_ms + won_ms
        self.balance_ms = max(-DEBT * plain_ms, min(CREDIT * plain_ms, balance))

    def watch(self, proposal: Proposal, extra_ms: float) -> None:
        """Follow a proposal that is not verified, which would have made its round `extra_ms`
        longer. The one before it is followed to its end first.
        """
        if self._watched is None:
            self._watched, self._node, self._right = proposal, ROOT, 0
            self._extra_ms = extra_ms

    def follow(self, committed: Sequence[int], plain_ms: float) -> None:
        """Compare the watched proposal with tokens that were committed. Book it when it clears the
        debt, or ends."""
        if self._watched is None:
            return
        tree = self._watched.tree
        for token in committed:
            children = (
                n for n in range(self._node + 1, len(tree)) if tree.parents[n] == self._node
            )
            found = next((n for n in children if tree.tokens[n] == token), None)
            if found is not None:
                self._node, self._right = found, self._right + 1
            won_ms = self._right * plain_ms - self._extra_ms
            clears = won_ms >= -self.balance_ms
            if clears or found is None or found not in tree.parents[found + 1 :]:
                # what was not tried clears a debt and gives no credit
                self._enter(min(won_ms, -self.balance_ms), plain_ms)
                self._watched = None
                return
