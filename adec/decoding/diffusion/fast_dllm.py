"""Fast-dLLM: every position stands whose token is likely enough.

C. Wu and others, "Fast-dLLM: Training-free Acceleration of Diffusion LLM by Enabling KV Cache and
Parallel Decoding", 2025, arXiv 2505.22618.

Where n tokens have probabilities above 1 - e each and (n + 1) e <= 1, their product and their joint
distribution have the same mode. A threshold of 0.9 therefore covers up to nine tokens a step.

What is different here: `factor` is the rule of the theorem. The released code lets the last
remaining position stand in any case (two masks are always filled together), which is not in the
paper. The caches are settings of every strategy on a canvas (`canvas_cache.py`); they keep keys
after their rotation, since no position ever moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adec.decoding.diffusion.canvas_loop import CanvasSettings, CanvasStrategy, canvas_engine
from adec.decoding.diffusion.unmasking import Proposals, surest
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids
from adec.engines.pair import Engines


@dataclass(frozen=True, slots=True)
class ThresholdSettings(CanvasSettings):
    """`--set threshold.NAME=VALUE`."""

    probability: float = setting(
        0.9, "tokens at least as likely stand; the paper's is 0.9", least=0, most=1
    )
    factor: float | None = setting(
        None, "the n likeliest stand if the n-th is above 1 - factor/(n + 1); the paper's is 1",
        least=0,
    )  # fmt: skip


class SureTokens:
    """All positions that are sure enough, and at least the surest."""

    sees_canvas = False

    def __init__(self, probability: float) -> None:
        self._probability = probability

    def choose(self, proposals: Proposals) -> Sequence[int]:
        """See `UnmaskingRule.choose`."""
        sure = [proposals.confidence(i) for i in range(len(proposals))]
        found = [i for i, value in enumerate(sure) if value >= self._probability]
        return found or surest(sure)[:1]


class Factor:
    """The largest n for which the k-th likeliest is above 1 - f/(k + 1) for all k up to n."""

    sees_canvas = False

    def __init__(self, factor: float) -> None:
        self._factor = factor

    def choose(self, proposals: Proposals) -> Sequence[int]:
        """See `UnmaskingRule.choose`."""
        sure = [proposals.confidence(i) for i in range(len(proposals))]
        order = surest(sure)
        count = 0
        while count < len(order) and sure[order[count]] >= 1 - self._factor / (count + 2):
            count += 1
        return order[: max(1, count)]


def build(engines: Engines, settings: ThresholdSettings, aids: Aids) -> CanvasStrategy:
    """The strategy on the large model."""
    factor = settings.factor
    return CanvasStrategy(
        "threshold",
        "arXiv 2505.22618",
        canvas_engine(engines),
        SureTokens(settings.probability) if factor is None else Factor(factor),
        settings,
    )
