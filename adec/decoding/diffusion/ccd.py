"""CCD: positions stand whose prediction did not change with the context.

CCD, Coherent Contextual Decoding, 2025, arXiv 2512.02044.

A token that depends little on what else stands keeps its distribution from step to step. The
distributions of the last `history` steps are averaged, p = mean of p_t, over the steps in which the
position was among the `width` surest; positions stand in the order of the entropy of p. CCD fills
one position a step, CCD-DS all whose averaged entropy is below `entropy`.

What is different here: the paper's threshold on the entropy could not be found out, so `entropy` is
ours. `form=released` is what the authors' preliminary code does instead: it compares ranks and
likeliest tokens of two steps, and averages nothing. In both forms the surest position stands where
no other does. The released code's end (all that is left in the last step) does not arise here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from adec.decoding.diffusion.canvas_loop import CanvasSettings, CanvasStrategy, canvas_engine
from adec.decoding.diffusion.unmasking import Proposals, UnmaskingRule, surest
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids
from adec.engines.pair import Engines

Law = NDArray[np.float32]
WARM = 5
"""Steps of the released form that fill one position, whatever it is."""
TAIL = 0.1
"""Share of the canvas, still masked, from which on the released form looks at two positions."""


@dataclass(frozen=True, slots=True)
class CcdSettings(CanvasSettings):
    """`--set ccd.NAME=VALUE`."""

    form: Literal["paper", "released"] = setting(
        "paper", "averaged distributions, or ranks and tokens of two steps as in the authors' code"
    )
    dynamic: bool = setting(True, "CCD-DS: as many positions as agree; else one a forward")
    width: int = setting(4, "surest positions of a step that are compared; the paper's 4", least=1)
    history: int = setting(2, "steps that are averaged; the paper's 2 for LLaDA", least=2)
    entropy: float = setting(0.1, "nats of an averaged distribution below which it stands", least=0)


class Averaged:
    """The paper's form."""

    sees_canvas = False

    def __init__(self, width: int, history: int, entropy: float, *, dynamic: bool) -> None:
        self._width = width
        self._entropy = entropy
        self._dynamic = dynamic
        self._past: deque[Mapping[int, Law]] = deque(maxlen=history)

    def choose(self, proposals: Proposals) -> Sequence[int]:
        """See `UnmaskingRule.choose`."""
        if proposals.step == 0:
            self._past.clear()
        own = [proposals.entropy(i) for i in range(len(proposals))]
        best = surest([-nats for nats in own])[: self._width]
        self._past.append({proposals.places[i]: proposals.law(i) for i in best})
        averaged = {i: self._mean_entropy(proposals.places[i]) for i in best}
        order = sorted(best, key=lambda i: (averaged[i], i))
        if not self._dynamic:
            return order[:1]
        # one that was not there before has shown nothing yet
        seen = [i for i in order if sum(proposals.places[i] in past for past in self._past) > 1]
        return [i for i in seen if averaged[i] < self._entropy] or order[:1]

    def _mean_entropy(self, place: int) -> float:
        """In nats, of the average over the steps that remember the position."""
        laws = [past[place] for past in self._past if place in past]
        mean: NDArray[np.float64] = np.stack(laws).mean(axis=0, dtype=np.float64)
        likely = mean[mean > 0]
        return max(0.0, -float(likely @ np.log(likely)))


class Agreeing:
    """The released form, with a base budget of one position a step."""

    sees_canvas = False

    def __init__(self, width: int, *, dynamic: bool) -> None:
        self._most = width + 1
        self._dynamic = dynamic
        self._width = 1
        self._ranked: Mapping[int, int] = {}

    def choose(self, proposals: Proposals) -> Sequence[int]:
        """See `UnmaskingRule.choose`."""
        if proposals.step == 0:
            self._width, self._ranked = 1, {}
        if proposals.step >= WARM - 1:
            self._width = min(self._width + 1, self._most)
        if 1 - proposals.done <= TAIL:
            self._width = 2
        order = surest([-proposals.entropy(i) for i in range(len(proposals))])
        found = order[:1]
        if proposals.step >= WARM and proposals.places[order[0]] in self._ranked:
            agreed = [i for i in order[: self._width] if self._agrees(proposals, i)]
            if agreed:
                found = agreed if self._dynamic else agreed[:1]
        left = [i for i in order if i not in found][: self._width]
        self._ranked = {proposals.places[i]: proposals.tokens[i] for i in left}
        return found

    def _agrees(self, proposals: Proposals, i: int) -> bool:
        return self._ranked.get(proposals.places[i]) == proposals.tokens[i]


def build(engines: Engines, settings: CcdSettings, aids: Aids) -> CanvasStrategy:
    """The strategy on the large model."""
    rule: UnmaskingRule
    if settings.form == "paper":
        rule = Averaged(
            settings.width, settings.history, settings.entropy, dynamic=settings.dynamic
        )
    else:
        rule = Agreeing(settings.width, dynamic=settings.dynamic)
    return CanvasStrategy("ccd", "arXiv 2512.02044", canvas_engine(engines), rule, settings)
