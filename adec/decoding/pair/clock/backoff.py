"""Whether a drafter pays at all: give up within a few rounds, probe rarely, come back when it pays.

The measure is committed tokens per millisecond of whole rounds, against the large model alone.
Acceptance cannot decide: at an acceptance of 0.9 drafting was seen to gain 23 % and to lose 16 %
(vLLM, PR 26504). The probing window is that of exllamav3's controller; its waits double, as vLLM's
measurements advise: probe rarely once settled.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

TRIES = 3
"""Rounds before the first judgement: if three are clearly slow, a fourth adds nothing."""
TRIES_FREE = 8
"""The same for drafters without a model, whose every draft was valued before it was tried."""
RECENT = 8
"""Rounds that are judged together. A wrong verdict on so few is cheap: it costs the gain of `WAIT`
rounds."""
RECENT_FREE = 32
"""The same for drafters without a model."""
DOUBT = 0.4
"""After n rounds a shortfall of DOUBT / sqrt(n) is forgiven: the tokens of a round scatter by about
0.4 of their mean."""
STREAK = 5
"""Losing rounds in a row after which drafting pauses, however much was won before. A drafter worth
having, which loses three rounds of ten, does so once in 400."""
WAIT = 16
"""Plain rounds before the first probe after giving up (exllamav3)."""
WAIT_MOST = 128
"""The longest wait, unless probing is expensive."""
PROBING = 0.01
"""Share of a run's time that unsuccessful probes may
cost: after a probe that lost ten plain rounds comes a
wait of 1000."""
PROBES = 2
"""Rounds of a probe: one alone is a coin toss. If the first draft is rejected whole, one is
enough."""
CONVINCING = 8
"""Tokens in a row that a paused drafter would have had right, after which it drafts again at once.
It doubles each time that drafting is resumed this way, and is reset once drafting pays."""
MARGIN = 1.05
"""Speed that a probe must reach: at break-even, drafting only wastes energy."""

State = Literal["drafting", "paused", "probing"]


class Backoff:
    """Decides when one drafter pauses and when it is tried again.

    It drafts at first: most answers are over before a drafter could have proved itself. One without
    a model (`free`) is judged over a longer time, as it wins by rare long matches, and it is never
    probed: what its offers would have been worth is seen without trying them.
    """

    def __init__(self, *, free: bool = False) -> None:
        self.state: State = "drafting"
        self.speed: float | None = None
        """Speed of the rounds last judged, as a multiple of plain decoding's."""
        self._free = free
        self._tries = TRIES_FREE if free else TRIES
        self._streak = RECENT_FREE if free else STREAK
        self._rounds: deque[tuple[int, float]] = deque(maxlen=RECENT_FREE if free else RECENT)
        """(tokens, plain rounds that would have taken as long) of each round under judgement."""
        self._losing = 0  # the latest rounds in a row that lost
        self._idle = 0  # rounds since the last in which it was used
        self._wait = WAIT
        self._lost = 0.0  # plain rounds that the probes since the pause have cost
        self._convincing = CONVINCING

    def new_answer(self) -> None:
        """Draft again: the last answer may have been another kind of text."""
        if self.state != "drafting":
            self.state, self._wait = "drafting", WAIT
            self._forget()

    def sat_out(self, rounds: int = 1) -> None:
        """Count rounds in which this drafter was not used."""
        self._idle += rounds
        if self._idle < self._wait:
            return
        if self._free:
            # its offers are valued by what is committed in their place: no round is spent on it
            if self.state == "paused":
                self._resume()
        elif self.state != "probing":
            # a model is valued by a forecast, which may be wrong: it is probed even if never used
            self.state = "probing"
            self._wait_longer()
            self._forget()

    def pause_unused(self, rounds: int, *, longer: bool) -> None:
        """Pause a drafter that is asked in vain, for `rounds` at least.

        `longer`: each time for longer than the time before.
        """
        if self.state == "drafting":
            if longer:
                self._wait_longer()
            self._wait = max(self._wait, rounds)
            self._pause()

    def resume_if_convinced(self, streak: int) -> None:
        """Draft again if the last `streak` tokens are what the drafter would have drafted."""
        if self.state != "drafting" and streak >= self._convincing:
            self._convincing *= 2
            self._resume()

    def record(self, tokens: int, ms: float, plain_ms: float, once_ms: float = 0.0) -> bool:
        """Judge by a round of this drafter, which committed `tokens` in `ms`.

        `plain_ms`: what plain decoding takes for a token. `once_ms`: time spent besides, once for
        all rounds to follow, such as reading what was missed during a pause.

        Returns whether drafting has just been resumed by a probe: what is known of acceptance may
        then be out of date.
        """
        self._idle = 0
        plain = max(ms / plain_ms, 1e-9)
        if self.state == "probing":
            self._lost += plain + once_ms / plain_ms - tokens
        self._rounds.append((tokens, plain))
        self._losing = self._losing + 1 if tokens < plain else 0
        count = len(self._rounds)
        speed = sum(t for t, _ in self._rounds) / sum(p for _, p in self._rounds)
        if self.state == "drafting":
            self._wait = WAIT
            if speed >= MARGIN and count >= PROBES:
                self._convincing = CONVINCING
            allowed = 1 - DOUBT / count**0.5
            if self._losing >= self._streak or (count >= self._tries and speed < allowed):
                self.speed = speed
                self._pause()
            return False
        if count < PROBES and tokens > 1:
            return False
        self.speed = speed
        if speed >= MARGIN:
            self.state = "drafting"
            return True
        self._wait = max(self._wait, round(self._lost / PROBING))
        self._pause()
        return False

    def _wait_longer(self) -> None:
        self._wait = max(self._wait, min(2 * self._wait, WAIT_MOST))

    def _resume(self) -> None:
        self.state = "drafting"
        self._forget()

    def _pause(self) -> None:
        self.state = "paused"
        self._forget()

    def _forget(self) -> None:
        self._idle = self._losing = 0
        self._lost = 0.0
        self._rounds.clear()
