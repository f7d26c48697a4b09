"""Whether drafting pays at all: give up within a few rounds, probe rarely and cheaply, come back when it pays.

The measure is what counts: committed tokens per millisecond of whole rounds, against the large model alone. Acceptance cannot
decide: at one acceptance of 0.9 drafting was seen to gain 23 % and to lose 16 % (vLLM, PR 26504). The probing
window is that of exllamav3's controller, its waits doubling as vLLM's measurements advise: probe rarely once settled.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

TRIES = 3
"""Rounds before a judgement: three at a third of plain speed show what a fourth would."""
TRIES_FREE = 8
"""The same for drafters without a model: each draft has been valued by what became of all that they said."""
RECENT = 8
"""Rounds that are judged together. Wrong verdicts on so few are cheap both ways: one costs the gain of WAIT rounds."""
RECENT_FREE = 32
"""The same for drafters without a model."""
DOUBT = 0.4
"""Shortfall that is forgiven after n rounds is DOUBT / sqrt(n): tokens a round scatter by about 0.4 of their mean."""
STREAK = 5
"""Losing rounds in a row after which drafting stops, however much was won before: a drafter worth having, which loses three
rounds of ten, does so once in 400."""
WAIT = 16
"""Plain rounds before the first probe after giving up (exllamav3)."""
WAIT_MOST = 128
"""Longest wait, unless a probe is dear."""
PROBING = 0.02
"""Share of the time that probes in vain may take: a probe that lost ten plain rounds is followed by a wait of 500."""
PROBES = 2
"""Rounds of a probe: one alone is a coin toss. When the first draft is rejected whole, one is enough."""
CONVINCING = 8
"""Tokens in a row that a drafter would have had right, after which it drafts again at once; twice as many each time that it
is closed again."""
MARGIN = 1.05
"""Speed that a probe must reach: at break-even the drafts are not worth the heat."""

State = Literal["open", "probe", "closed"]


class Throttle:
    """The state of one drafter, which is open at first: most answers are over before a drafter that must prove itself has done so.

    A drafter without a model (`free`) is judged over a longer time: its drafts cost little where they fail, and what it wins comes
    in rare long matches.
    """

    def __init__(self, *, free: bool = False) -> None:
        self.state: State = "open"
        self.speed: float | None = None
        """Speed of drafting rounds in the last judgement, as a multiple of plain decoding's."""
        self._wait = WAIT
        self._idle = 0
        self._free = free
        self._losing = 0
        self._tries = TRIES_FREE if free else TRIES
        self._streak = RECENT_FREE if free else STREAK
        self._convincing = CONVINCING
        self._lost = 0.0
        self._rounds: deque[tuple[int, float]] = deque(maxlen=RECENT_FREE if free else RECENT)

    def tick(self) -> None:
        """A round passed in which this drafter was not used."""
        self._idle += 1
        # what a free one has is seen and valued in every round while it is open; a model's worth is foreseen, perhaps wrongly
        rests = self.state == "closed" or (self.state == "open" and not self._free)
        if self._idle >= self._wait and rests:
            self.state = "probe"
            # an open drafter that is never used waits longer each time, too, until it is
            self._wait_longer()
            self._forget()

    def begin(self) -> None:
        """An answer begins, perhaps to another kind of text: what the last one showed does not shut it out."""
        if self.state != "open":
            self.state, self._wait = "open", WAIT
            self._forget()

    def rest(self) -> None:
        """Asking the drafter costs time that shows, and it had nothing worth drafting for a while."""
        if self.state == "open" and self._idle >= WAIT:
            self._wait_longer()
            self._close()

    def convince(self, streak: int) -> None:
        """While nothing was drafted, the last `streak` tokens were what would have been."""
        if self.state != "open" and streak >= self._convincing:
            self.state = "open"
            self._convincing *= 2
            self._forget()

    def record(self, tokens: int, ms: float, plain_ms: float, once_ms: float = 0.0) -> bool:
        """A round of this drafter committed `tokens` in `ms`; plain decoding takes `plain_ms` a token.

        `once_ms`: what it took besides, once for all rounds to follow, such as reading what was missed.

        True when drafting was just taken up again after a pause: what is known of acceptance may be out of date.
        """
        self._idle = 0
        plain = max(ms / plain_ms, 1e-9)
        if self.state == "probe":
            self._lost += plain + once_ms / plain_ms - tokens
        self._rounds.append((tokens, plain))
        self._losing = self._losing + 1 if tokens < plain else 0
        count = len(self._rounds)
        speed = sum(t for t, _ in self._rounds) / sum(p for _, p in self._rounds)
        allowed = 1 - DOUBT / count**0.5
        if self.state == "open":
            self._wait = WAIT
            if speed >= MARGIN and count >= PROBES:
                self._convincing = CONVINCING
            if self._losing >= self._streak or (count >= self._tries and speed < allowed):
                self.speed = speed
                self._close()
            return False
        # of a first draft that is rejected whole, one round says enough
        if count < PROBES and tokens > 1:
            return False
        self.speed = speed
        if speed >= MARGIN:
            self.state = "open"
            return True
        self._wait = max(self._wait, round(self._lost / PROBING))
        self._close()
        return False

    def _wait_longer(self) -> None:
        self._wait = max(self._wait, min(2 * self._wait, WAIT_MOST))

    def _close(self) -> None:
        self.state = "closed"
        self._forget()

    def _forget(self) -> None:
        self._idle = self._losing = 0
        self._lost = 0.0
        self._rounds.clear()
