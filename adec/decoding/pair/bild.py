"""BiLD: the small model writes until it is unsure; the large one then rolls back grave errors only.

Kim et al. 2023, "Speculative Decoding with Big Little Decoder", arXiv 2302.07863 (NeurIPS 2023).
Fallback: the large model wakes where the small one's greatest probability is below a threshold, or
after ten tokens. Rollback: to the first draft that costs the large model more than a threshold (nats,
-log p).

What is different here: the defaults are one pair of thresholds that the authors use for translation;
others belong in a profile. `accept=exact` is the yardstick: the same fallback, the large model's own
tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from adec.decoding.pair.accept import FollowTarget, Pick, Verifier, picks
from adec.decoding.pair.draft_verify import DraftVerify
from adec.decoding.pair.drafters.drafter import Accepted, Outcome, Proposal
from adec.decoding.pair.drafters.small_model import SmallModel
from adec.decoding.pair.wiring import one_drafter
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids, Limits
from adec.engines.pair import Engines
from adec.events.records import Guarantee
from adec.signals import Scores, Signals


class ConfidenceStop:
    """Fallback: stop where the likeliest token has a probability below a threshold."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self.start()

    def start(self) -> None:
        self.signal: tuple[float, float] | None = None
        self.reason: str | None = None

    def stops(self, signals: Signals, row: int, depth: int) -> bool:
        if depth == 0:
            self.reason = None
        confidence = signals.probability(row, signals.argmax(row))
        self.signal = confidence, self._threshold
        if confidence < self._threshold:
            self.reason = f"confidence {confidence:.2f} < {self._threshold:.2f}"
            return True
        return False

    def learn(self, outcome: Outcome) -> None:
        pass


def roll_back(
    draft: Sequence[int],
    surprise: Callable[[int], float],
    threshold: float,
    pick: Pick,
    end: Collection[int],
) -> Accepted:
    """Roll a chain back to the first token whose `surprise` is above the threshold.

    `surprise(i)`: -log p (nats) of token i under the large model.
    """
    for i, token in enumerate(draft):
        if surprise(i) > threshold:
            return Accepted(tuple(range(i)), pick(i - 1, i), False)
        if token in end:
            return Accepted(tuple(range(i + 1)), None, True)
    return Accepted(tuple(range(len(draft))), pick(len(draft) - 1, len(draft)), True)


@dataclass(frozen=True, slots=True)
class RollBack:
    """The verifier: `roll_back` above a threshold in nats."""

    threshold: float
    guarantee: Guarantee = Guarantee.APPROXIMATE
    chains_only: bool = True
    in_order: bool = False

    def judge(self, proposal: Proposal, scores: Scores, base: int, limits: Limits) -> Accepted:
        tokens = proposal.tree.tokens

        def surprise(node: int) -> float:
            probability = scores.probability(node, tokens[node])
            return -math.log(probability) if probability > 0 else math.inf

        return roll_back(tokens, surprise, self.threshold, picks(scores, base, limits), limits.end)


@dataclass(frozen=True, slots=True)
class BildSettings:
    """`--set bild.NAME=VALUE`."""

    fallback: float = setting(0.6, "confidence below which the large model wakes", least=0, most=1)
    rollback: float = setting(
        2.0, "nats, -log p of a draft under the large model, above which it falls", least=0
    )
    longest: int = setting(10, "tokens drafted at most", least=1, most=256)
    accept: Literal["rollback", "exact"] = setting(
        "rollback", "rollback: the paper. exact: the same fallback, the large model's own tokens"
    )


def build(engines: Engines, settings: BildSettings, aids: Aids) -> DraftVerify:
    """BiLD on a pair."""
    exact = settings.accept == "exact"
    verifier: Verifier = FollowTarget() if exact else RollBack(settings.rollback)
    drafter = SmallModel(engines["small"], stop=ConfidenceStop(settings.fallback))
    return one_drafter(
        "bild", "arXiv 2302.07863", engines, aids, drafter, settings.longest, verifier, chain=True
    )
