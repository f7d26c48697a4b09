"""AdaEDL: early draft stopping by an entropy-based lower bound of acceptance.

Agrawal et al. 2024, "AdaEDL: Early Draft Stopping for Speculative Decoding of Large Language Models
via an Entropy-based Lower Bound on Token Acceptance Probability", arXiv 2410.18351.

What is different here: the paper does not tell us how lambda starts and moves, so its start is ours
and its update that of Draft & Verify (Zhang et al. 2023, arXiv 2309.08168). If the first row
already stops the draft, the round is plain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from adec.decoding.pair.draft_verify import DraftVerify
from adec.decoding.pair.drafters.by_text import small_drafter
from adec.decoding.pair.drafters.drafter import Outcome
from adec.decoding.pair.drafters.small_model import StopRule
from adec.decoding.pair.wiring import one_drafter
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids
from adec.engines.pair import Engines
from adec.signals import Signals


class EntropyBoundStop(StopRule):
    """Stop where a lower bound of acceptance, 1 - sqrt(gamma * H), falls below lambda.

    H is the entropy of the draft row in nats. Lambda, the threshold, rises by `step` while the
    running acceptance is below `target`, else it falls; both are smoothed.
    """

    name = "acceptance bound"

    def __init__(self, gamma: float, start: float, target: float, step: float) -> None:
        self._gamma = gamma
        self._target = target
        self._step = step
        super().__init__(start)

    def start(self) -> None:
        super().start()
        self.acceptance = self._target

    def value(self, signals: Signals, row: int) -> float:
        return 1 - math.sqrt(self._gamma * signals.entropy(row))

    def learn(self, outcome: Outcome) -> None:
        rate = len(outcome.accepted.path) / len(outcome.proposal)
        self.acceptance = 0.5 * self.acceptance + 0.5 * rate
        change = self._step if self.acceptance < self._target else -self._step
        self.threshold = min(1.0, 0.9 * self.threshold + 0.1 * (self.threshold + change))


@dataclass(frozen=True, slots=True)
class AdaEdlSettings:
    """`--set adaedl.NAME=VALUE`."""

    gamma: float = setting(0.2, "weight of the entropy in the bound (paper: about 0.2)", least=0)
    start: float = setting(0.5, "lambda at first: the least bound to draft on", least=0, most=1)
    target: float = setting(0.8, "acceptance that lambda steers to", least=0, most=1)
    step: float = setting(0.01, "how far lambda moves before smoothing", least=0, most=1)
    longest: int = setting(16, "tokens drafted at most", least=1, most=256)


def build(engines: Engines, settings: AdaEdlSettings, aids: Aids) -> DraftVerify:
    """AdaEDL on a pair."""
    stop = EntropyBoundStop(settings.gamma, settings.start, settings.target, settings.step)
    drafter = small_drafter(engines, aids, stop=stop)
    return one_drafter(
        "adaedl", "arXiv 2410.18351", engines, aids, drafter, settings.longest, chain=True
    )
