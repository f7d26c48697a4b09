"""What a person asks of a calibration, and who gets to know how far it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from adec.calibration.trials.trial import Metric


@dataclass(frozen=True)
class Wishes:
    """What a person asks of a calibration."""

    keep: float = 0.97
    metric: Metric = "agreement"
    confidence: float = 0.95
    seconds: float = 300.0
    max_tokens: int = 256


class Watcher(Protocol):
    """Gets to know the stages and how far each is."""

    def stage(self, name: str) -> None:
        """A stage begins."""
        ...

    def tick(self, share: float) -> None:
        """The stage is so far, 0 to 1. Raises KeyboardInterrupt once Ctrl-C was pressed."""
        ...
