"""Measures what candidates lose on some texts, each once, and keeps it in the journal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic

from adec.calibration.compress.evopress import Candidate, OutOfTime
from adec.calibration.compress.known_texts import TextLoss, together
from adec.calibration.journal import Journal
from adec.events.hostile_json import JsonReader

_LOST: JsonReader[TextLoss] = JsonReader(TextLoss)


class Judge(Generic[Candidate]):
    """Losses on some texts, which are known by their numbers."""

    def __init__(
        self,
        measure: Callable[[Candidate, int], TextLoss],
        words: Callable[[Candidate], str],
        texts: int,
        name: str,
        journal: Journal,
        tick: Callable[[], None],
    ) -> None:
        """`words` and `name` tell a candidate, and these texts from others, in the journal.

        `tick` is called as time passes.
        """
        self.texts = texts
        self._measure = measure
        self._words = words
        self._name = name
        self._journal = journal
        self._tick = tick
        self.until: Callable[[], bool] = lambda: False
        """Whether the time is over; then nothing more is measured, and `OutOfTime` is raised."""
        self.measured = 0

    def on(self, candidate: Candidate, index: int) -> TextLoss:
        """What a candidate loses on one text."""
        name = f"{self._name} {index} {self._words(candidate)}"
        found = self._journal.get(name, _LOST)
        if found is None:
            if self.until():
                raise OutOfTime
            self._tick()
            found = self._measure(candidate, index)
            self._journal.put(name, found)
            self.measured += 1
        return found

    def over(self, candidate: Candidate, indices: Sequence[int]) -> TextLoss:
        """What it loses on several."""
        return together([self.on(candidate, index) for index in indices])

    def kl(self, candidate: Candidate, indices: Sequence[int]) -> float:
        """Nats a token: a `Loss`."""
        return self.over(candidate, indices).kl
