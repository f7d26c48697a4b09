"""Rules that end a draft by the small model's distribution before its token is drawn."""

from __future__ import annotations

import math

from adec.decoding.pair.drafters.drafter import Outcome
from adec.signals import Signals


class ConfidenceStop:
    """Stop where the likeliest token has a probability below a threshold (BiLD's fallback; HF's assistant confidence)."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self.signal: tuple[float, float] | None = None
        self.reason: str | None = None

    def start(self) -> None:
        self.signal = self.reason = None

    def stops(self, signals: Signals, row: int, depth: int) -> bool:
        if depth == 0:
            self.reason = None
        sure = signals.probability(row, signals.argmax(row))
        self.signal = sure, self._threshold
        if sure < self._threshold:
            self.reason = f"confidence {sure:.2f} < {self._threshold:.2f}"
            return True
        return False

    def learn(self, outcome: Outcome) -> None:
        pass


class EntropyBoundStop:
    """AdaEDL: stop where a lower bound of acceptance, 1 - sqrt(gamma * H), is below lambda; lambda follows acceptance.

    H is the entropy of the draft row in nats. Lambda rises by `step` when the running acceptance is below `target`, else it
    falls, smoothed as in Draft & Verify (Zhang et al. 2023, arXiv 2309.08168).
    """

    def __init__(self, gamma: float, start: float, target: float, step: float) -> None:
        self._gamma = gamma
        self._start = start
        self._target = target
        self._step = step
        self.signal: tuple[float, float] | None = None
        self.reason: str | None = None
        self.start()

    def start(self) -> None:
        self.threshold = self._start
        self.acceptance = self._target
        self.signal = self.reason = None

    def stops(self, signals: Signals, row: int, depth: int) -> bool:
        if depth == 0:
            self.reason = None
        bound = 1 - math.sqrt(self._gamma * signals.entropy(row))
        self.signal = bound, self.threshold
        if bound < self.threshold:
            self.reason = f"acceptance bound {bound:.2f} < {self.threshold:.2f}"
            return True
        return False

    def learn(self, outcome: Outcome) -> None:
        rate = len(outcome.verdict.path) / len(outcome.proposal)
        self.acceptance = 0.5 * self.acceptance + 0.5 * rate
        change = self._step if self.acceptance < self._target else -self._step
        self.threshold = min(1.0, 0.9 * self.threshold + 0.1 * (self.threshold + change))
