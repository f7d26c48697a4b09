"""Prophet: once the answer is settled, all that is left stands at once.

P. Li and others, "Diffusion Language Models Know the Answer Before Decoding", 2025,
arXiv 2508.19982.

The answer is often settled long before the canvas is filled. When the gap between the greatest and
the second logit, averaged over the answer, reaches a threshold that falls with progress (7.5 below
a third, 5 below two thirds, then 2.5), every mask gets its likeliest token; until then one position
stands a forward.

What is different here: the released code watches five positions after a text that is forced into
the canvas, and commits early only where there is such a text. Nothing is forced here, and no text
is known in advance: all masks before the end that is proposed are watched, or the last `watched` of
them. Progress is the share of the canvas that stands, since an end token shortens it. Thresholds on
the scale of one model's logits say little of another's: fit them to yours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adec.decoding.diffusion.canvas_loop import CanvasSettings, CanvasStrategy, canvas_engine
from adec.decoding.diffusion.unmasking import Proposals, surest
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids
from adec.engines.pair import Engines

THIRDS = (0.33, 0.67)
"""The progress at which the next threshold counts."""


@dataclass(frozen=True, slots=True)
class ProphetSettings(CanvasSettings):
    """`--set prophet.NAME=VALUE`."""

    early: float = setting(7.5, "mean gap of logits that suffices in the first third", least=0)
    middle: float = setting(5.0, "that suffices in the second third", least=0)
    late: float = setting(2.5, "that suffices in the last third", least=0)
    watched: int = setting(
        0, "masks before the end whose gaps count, the paper's 5; 0: all of them", least=0
    )


class EarlyCommit:
    """The surest position, or all masks once their gaps are great enough."""

    sees_canvas = True

    def __init__(self, thresholds: Sequence[float], watched: int) -> None:
        self._thresholds = thresholds
        self._watched = watched

    def choose(self, proposals: Proposals) -> Sequence[int]:
        """See `UnmaskingRule.choose`."""
        region = self._region(proposals)
        gap = sum(proposals.gap(i) for i in region) / len(region)
        passed = sum(proposals.done >= bound for bound in THIRDS)
        if gap >= self._thresholds[passed]:
            return range(len(proposals))
        return surest([proposals.confidence(i) for i in range(proposals.inside)])[:1]

    def _region(self, proposals: Proposals) -> Sequence[int]:
        """The masks up to the first end token that is proposed."""
        order = sorted(range(len(proposals)), key=lambda i: proposals.places[i])
        ends = [at for at, i in enumerate(order) if proposals.tokens[i] in proposals.end]
        region = order[: ends[0] + 1] if ends else order
        return region[-self._watched :] if self._watched else region


def build(engines: Engines, settings: ProphetSettings, aids: Aids) -> CanvasStrategy:
    """The strategy on the large model."""
    return CanvasStrategy(
        "prophet",
        "arXiv 2508.19982",
        canvas_engine(engines),
        EarlyCommit((settings.early, settings.middle, settings.late), settings.watched),
        settings,
    )
