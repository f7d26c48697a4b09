"""EB-Sampler: as many positions as a bound on their entropies allows.

H. Ben-Hamu and others, "Accelerated Sampling from Masked Diffusion Models via Entropy Bounded
Unmasking", 2025, arXiv 2505.24857.

Tokens that are drawn independently differ from ones drawn jointly by at most the sum of their
entropies without the greatest. Positions stand in the order of their entropies while that bound is
kept.

What is different here: nothing; of the paper's orders it is the one by entropy.
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
class EntropySettings(CanvasSettings):
    """`--set entropy.NAME=VALUE`."""

    bound: float = setting(0.1, "nats of entropy, without the greatest, a step may add up", least=0)


class EntropyBound:
    """The longest run of positions, by rising entropy, that keeps to the bound."""

    sees_canvas = False

    def __init__(self, bound: float) -> None:
        self._bound = bound

    def choose(self, proposals: Proposals) -> Sequence[int]:
        """See `UnmaskingRule.choose`."""
        nats = [proposals.entropy(i) for i in range(len(proposals))]
        order = surest([-value for value in nats])
        # the greatest of the first n is the last one, so the others' sum is what came before it
        spent, count = 0.0, 0
        while count < len(order) and spent <= self._bound:
            spent += nats[order[count]]
            count += 1
        return order[:count]


def build(engines: Engines, settings: EntropySettings, aids: Aids) -> CanvasStrategy:
    """The strategy on the large model."""
    return CanvasStrategy(
        "entropy",
        "arXiv 2505.24857",
        canvas_engine(engines),
        EntropyBound(settings.bound),
        settings,
    )
