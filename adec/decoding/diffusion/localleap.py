"""LocalLeap: beside a sure position a lower threshold suffices.

F. Kong and others, "Accelerating Diffusion LLM Inference via Local Determinism Propagation", 2025,
arXiv 2510.07081.

Neighbours of a very sure position mostly have their final token already, and less so with distance.
Positions at least `probability` sure are anchors; within `radius` of one, `near` suffices. The
constants 0.9, 0.75 and 4 are those of a port: the paper's own code was not available.

What is different here: nothing that is known. As in the port, only positions that are still masked
are anchors, distances count positions of the canvas, and the surest position stands in any case.
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
class LocalLeapSettings(CanvasSettings):
    """`--set localleap.NAME=VALUE`."""

    probability: float = setting(
        0.9, "tokens at least as likely stand, and are anchors; the port's is 0.9", least=0, most=1
    )
    near: float = setting(0.75, "what suffices beside an anchor; the port's 0.75", least=0, most=1)
    radius: int = setting(4, "positions that count as beside; the port's is 4", least=0)


class Neighbours:
    """All that are sure enough, those beside an anchor by a lower threshold; at least one."""

    sees_canvas = False

    def __init__(self, probability: float, near: float, radius: int) -> None:
        self._probability = probability
        self._near = near
        self._radius = radius

    def choose(self, proposals: Proposals) -> Sequence[int]:
        """See `UnmaskingRule.choose`."""
        sure = [proposals.confidence(i) for i in range(len(proposals))]
        places = proposals.places
        anchors = [places[i] for i, value in enumerate(sure) if value >= self._probability]
        found = [
            i
            for i, value in enumerate(sure)
            if value >= self._probability
            or (value >= self._near and any(abs(places[i] - a) <= self._radius for a in anchors))
        ]
        return found or surest(sure)[:1]


def build(engines: Engines, settings: LocalLeapSettings, aids: Aids) -> CanvasStrategy:
    """The strategy on the large model."""
    return CanvasStrategy(
        "localleap",
        "arXiv 2510.07081",
        canvas_engine(engines),
        Neighbours(settings.probability, settings.near, settings.radius),
        settings,
    )
