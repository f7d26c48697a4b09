"""What a drafter that looks ahead may lose, and for how long it rests when it has lost that."""

from __future__ import annotations

MAY_LOSE = 2.0
"""Plain rounds that it may lose before it rests: rows asked for in one round are won back in the
next, and a round of three drafts is wrong by chance often enough."""
CREDIT = 8.0
"""Plain rounds that it is remembered at most to have won."""
LOSABLE = 0.01
"""Share of a run's time that losses may take: two rounds lost are followed by 200 of rest."""
FIRST, LONGEST = 64, 4096
"""Rounds of rest where the forecast says that it does not pay: four times as many each time."""


class LossBound:
    """The account of one drafter, which goes on from answer to answer."""

    def __init__(self) -> None:
        self.balance_ms = 0.0
        """Won since the last rest, at most CREDIT."""
        self.resting = 0
        """Rounds left in which it takes no part."""
        self._again = FIRST

    def book(self, won_ms: float, plain_ms: float) -> bool:
        """Enter a round that took `won_ms` less than plain ones. Returns whether it rests now."""
        self.balance_ms = min(CREDIT * plain_ms, self.balance_ms + won_ms)
        if self.balance_ms >= CREDIT * plain_ms:
            self._again = FIRST
        if self.balance_ms >= -MAY_LOSE * plain_ms:
            return False
        self._rest(round(-self.balance_ms / plain_ms / LOSABLE))
        self.balance_ms = 0.0
        return True

    def refuse(self) -> None:
        """Rest since the forecast says so."""
        self._rest(0)

    def wait(self, rounds: int) -> None:
        """Rest for so many rounds, which says nothing of what it is worth."""
        self.resting = max(self.resting, rounds)

    def _rest(self, rounds: int) -> None:
        self.resting = max(rounds, self._again)
        self._again = min(4 * self._again, LONGEST)

    def pass_rounds(self, rounds: int) -> bool:
        """Count rounds without it. Returns whether a rest ends with them."""
        self.resting = max(0, self.resting - rounds)
        return self.resting == 0
