"""Measures what sets of blocks lose, each once, and keeps it in the journal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from adec.calibration.drop.evopress import Blocks, OutOfTime
from adec.calibration.drop.whole_model import DropLoss, KnownText, lost, together
from adec.calibration.journal import Journal
from adec.engines.protocols import LayerEngine
from adec.events.hostile_json import JsonReader

_LOST: JsonReader[DropLoss] = JsonReader(DropLoss)


class Judge:
    """Losses on some texts."""

    def __init__(
        self,
        engine: LayerEngine,
        texts: Sequence[KnownText],
        name: str,
        journal: Journal,
        tick: Callable[[], None],
    ) -> None:
        """`name` tells these texts from others in the journal; `tick` is called as time passes."""
        self.engine = engine
        self.texts = texts
        self._name = name
        self._journal = journal
        self._tick = tick
        self.until: Callable[[], bool] = lambda: False
        """Whether the time is over; then nothing more is measured, and `OutOfTime` is raised."""
        self.measured = 0

    def on(self, left_out: Blocks, index: int) -> DropLoss:
        """What a set loses on one text."""
        words = ",".join(map(str, sorted(left_out)))
        name = f"{self._name} {index} {words}"
        found = self._journal.get(name, _LOST)
        if found is None:
            if self.until():
                raise OutOfTime
            self._tick()
            found = lost(self.engine, self.texts[index], left_out)
            self._journal.put(name, found)
            self.measured += 1
        return found

    def over(self, left_out: Blocks, indices: Sequence[int]) -> DropLoss:
        """What it loses on several."""
        return together([self.on(left_out, index) for index in indices])

    def kl(self, left_out: Blocks, indices: Sequence[int]) -> float:
        """Nats a token: a `Loss`."""
        return self.over(left_out, indices).kl
