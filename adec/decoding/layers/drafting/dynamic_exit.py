"""DEL: the exit layer and the draft length are chosen anew in every round.

Entezari Zarch et al. 2025, "DEL: Context-Aware Dynamic Exit Layer for Efficient Self-Speculative
Decoding", arXiv 2504.05598.

    after a round   every layer l says by norm and head which token it would have drafted at each
                    position (its *shadow token*) and how sure it is
    counts          M[l] = w M[l] + (matches, mismatches) with the whole model's tokens, C[l] the
                    same of the confidences; a[l] = matches / (matches + mismatches)
    next exit       the l and the length g of the most tokens per time:
                    (1 + a + ... + a^g) / (time of verifying + g times that of drafting at l)
    while drafting  stop where a draft is less probable than tau[l], half way between the mean
                    confidences of matches and of mismatches

What is different here: time is milliseconds of this run, of drafting at an exit and of verifying g
drafts, with norm and head, where the paper counts layers. The length that comes out bounds the
draft; the released code computes it and forgets it. Positions behind the first rejected draft are
not counted, as released. a is a little hopeful, so that one miss is no verdict. Where no exit is
forecast to beat plain decoding, the round is plain. Shadow tokens cost heads, so only as many exits
are asked as an account pays for, the promising ones first, and before the first draft the end of
the prompt is (`paying_exits.py`). Counts outlast an answer at half their weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from adec.decoding.layers.drafting.paying_exits import PayingExits
from adec.decoding.layers.drafting.self_draft import SelfDraft
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids
from adec.engines.base import ModelInfo
from adec.engines.pair import Engines
from adec.engines.protocols import LayerEngine
from adec.errors import UsageError
from adec.signals import Scores


class DynamicExit(PayingExits):
    """The rule of DEL: all exits, any length, and a stop within the draft."""

    def goes_on(self, row: Scores, token: int) -> bool:
        """Whether the draft is probable enough for its exit."""
        counts, sure = self._counts[self._exit.depth], self._sure[self._exit.depth]
        if not counts.all():
            return True  # nothing is known of one of the means
        return row.probability(0, token) >= float((sure / counts).mean())


@dataclass(frozen=True, slots=True)
class DelSettings:
    """`--set del.NAME=VALUE`."""

    decay: float = setting(0.95, "weight of earlier rounds in the counts (paper)", least=0, most=1)
    longest: int = setting(18, "tokens drafted at most (paper)", least=1, most=64)


def check(settings: DelSettings, info: ModelInfo) -> None:
    """Raise UsageError where the model has a single layer."""
    if info.layers < 2:
        raise UsageError(f"del: {info.name} has one layer, and none to leave at before it")


def build(engines: Engines, settings: DelSettings, aids: Aids) -> SelfDraft:
    """DEL on the large model. Raises UsageError where it has a single layer."""
    engine = cast(LayerEngine, engines["large"])
    check(settings, engine.info)
    rule = DynamicExit(settings.longest, settings.decay)
    return SelfDraft("del", "arXiv 2504.05598", engine, rule)
