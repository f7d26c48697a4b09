"""BiLD: the small model writes until it is unsure; the large one then rolls back grave errors only.

Kim et al. 2023, "Speculative Decoding with Big Little Decoder", arXiv 2302.07863 (NeurIPS 2023).
Fallback: the large model wakes where the small one's greatest probability is below a threshold, or
after ten tokens. Rollback: to the first draft that costs the large model more than a threshold
(nats, -log p).

What is different here: the defaults are one pair of thresholds that the authors use for
translation; others belong in a profile. `accept=exact` is the yardstick: the same fallback, the
large model's own tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from adec.decoding.pair.accept import FollowTarget, Pick, Verifier, picks
from adec.decoding.pair.draft_verify import DraftVerify
from adec.decoding.pair.drafters.by_text import small_drafter
from adec.decoding.pair.drafters.drafter import Accepted, Proposal
from adec.decoding.pair.drafters.small_model import StopRule
from adec.decoding.pair.wiring import one_drafter
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids, Limits
from adec.engines.pair import Engines
from adec.signals import Scores, Signals


class ConfidenceStop(StopRule):
    """Fallback: stop where the likeliest token's probability is below a threshold."""

    name = "confidence"

    def value(self, signals: Signals, row: int) -> float:
        return signals.probability(row, signals.argmax(row))


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


@dataclass(frozen=True)
class RollBack(Verifier):
    """The verifier: `roll_back` above a threshold in nats."""

    threshold: float

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
    drafter = small_drafter(engines, aids, stop=ConfidenceStop(settings.fallback))
    return one_drafter(
        "bild", "arXiv 2302.07863", engines, aids, drafter, settings.longest, verifier, chain=True
    )
