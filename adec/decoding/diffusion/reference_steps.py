"""A fixed number of positions a step: what the models' own samplers do.

S. Nie and others, "Large Language Diffusion Models" (LLaDA), 2025, arXiv 2502.09992,
fill blocks from left to right, a quota a step, the likeliest tokens first. J. Ye and others,
"Dream 7B: Diffusion Large Language Models", 2025, arXiv 2508.15487, also order
positions by margin and by entropy.

What is different here: the quota is said directly (`tokens`) instead of by the number of steps, and
an end token that stands ends the answer; theirs fill the canvas to its end. At one token a step
without a cache this is the reference: "exact" means what it would write.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from adec.decoding.diffusion.canvas_loop import CanvasSettings, CanvasStrategy, canvas_engine
from adec.decoding.diffusion.unmasking import Proposals, surest
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids
from adec.engines.pair import Engines
from adec.events.records import Guarantee
from adec.sampling import uniform


@dataclass(frozen=True, slots=True)
class StepsSettings(CanvasSettings):
    """`--set steps.NAME=VALUE`."""

    tokens: int = setting(1, "positions that stand after each forward", least=1)
    order: Literal["confidence", "margin", "entropy", "random"] = setting(
        "confidence", "which of them: the likeliest, or those of this order"
    )


class Quota:
    """The `tokens` positions that come first in an order."""

    sees_canvas = False

    def __init__(self, tokens: int, order: str, seed: int = 0) -> None:
        self._tokens = tokens
        self._order = order
        self._seed = seed

    def choose(self, proposals: Proposals) -> Sequence[int]:
        """See `UnmaskingRule.choose`."""
        return surest([self._value(proposals, i) for i in range(len(proposals))])[: self._tokens]

    def _value(self, proposals: Proposals, i: int) -> float:
        match self._order:
            case "confidence":
                return proposals.confidence(i)
            case "margin":
                return proposals.margin(i)
            case "entropy":
                return -proposals.entropy(i)
            case _:
                return uniform(self._seed, proposals.places[i], proposals.step + 1)


def build(engines: Engines, settings: StepsSettings, aids: Aids) -> CanvasStrategy:
    """The strategy on the large model."""
    exact = settings.tokens == 1 and settings.cache == "none"
    return CanvasStrategy(
        "steps",
        "arXiv 2502.09992",
        canvas_engine(engines),
        Quota(settings.tokens, settings.order),
        settings,
        Guarantee.EXACT if exact else Guarantee.APPROXIMATE,
    )
