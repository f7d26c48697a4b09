"""Which drafters pause and which draft again, in words."""

from __future__ import annotations

from collections.abc import Sequence

from adec.decoding.pair.clock.candidate import CandidateDrafter


class PauseWording:
    """Says which drafters have just been paused or taken up again."""

    def __init__(self) -> None:
        self._states: list[str] = []
        self._paused: frozenset[str] = frozenset()
        self._reason: str | None = None

    def update(self, candidates: Sequence[CandidateDrafter]) -> str | None:
        """The change since the last call in words; None when there is none."""
        states: list[str] = [candidate.backoff.state for candidate in candidates]
        if states == self._states and self._reason is None:
            return None
        self._states, self._reason = states, None
        paused = frozenset(
            candidate.drafter.name
            for candidate in candidates
            if candidate.backoff.state == "paused"
        )
        for candidate in candidates:
            name, backoff = candidate.drafter.name, candidate.backoff
            if name in paused and name not in self._paused:
                self._reason = f"{name} drafts pause: {backoff.speed or 0:.2f} of plain speed"
            elif name in self._paused and backoff.state == "drafting":
                self._reason = f"{name} drafts again"
        # a probe does not yet end the pause
        self._paused = paused | frozenset(
            candidate.drafter.name
            for candidate in candidates
            if candidate.backoff.state == "probing" and candidate.drafter.name in self._paused
        )
        return self._reason
