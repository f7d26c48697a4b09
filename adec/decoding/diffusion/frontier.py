"""Frontier: what continues the text that stands is filled first, and what lies far off not yet.

A rule of our own. Near it is "WavefrontDiffusion: Dynamic Decoding Schedule for Improved
Reasoning", 2025, arXiv 2511.19473, whose active positions spread from those that stand.

A model is often sure of a token whose left neighbours are still open, and wrong: it knows that a
number comes here and not yet which, or by how many positions the text will shift. Then it proposes
one token twice, side by side: "55" for "95", "lion lion" for "lion violin". Three rules follow.

- Only positions less than `reach` to the right of the first open one are looked at: a block that
  moves along with the text.
- Of two neighbours that propose one token the less sure waits until the other stands. End tokens
  may be many.
- Of the rest, a token stands if it is likely enough alone, or if it ends a run of open positions
  that begins right behind one that stands, and the tokens of the run are likely enough together.
  With probabilities c of the proposed tokens, position j of a run from i stands if

      c_j >= probability   or   c_i c_(i+1) ... c_j >= run,

  and the surest within reach in any case. A token that waits ends the run.

The product takes the tokens for independent, as every rule here does that lets several stand; but
they are next to each other, and the text before them stands.

What is different from the paper: of it only the abstract was known. Its positions spread to both
sides; here only the first open one counts, and what is likely enough stands at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from adec.decoding.diffusion.canvas_loop import CanvasSettings, CanvasStrategy, canvas_engine
from adec.decoding.diffusion.unmasking import Proposals, surest
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids
from adec.engines.pair import Engines


@dataclass(frozen=True, slots=True)
class FrontierSettings(CanvasSettings):
    """`--set frontier.NAME=VALUE`."""

    reach: int = setting(12, "positions from the first open one on that may be filled", least=1)
    run: float = setting(
        0.9, "a run of tokens behind what stands stands if they are as likely together",
        least=0, most=1,
    )  # fmt: skip
    probability: float = setting(0.99, "a token as likely stands alone", least=0, most=1)
    twins: bool = setting(False, "let a token stand beside an equal one that is open, too")


class NearFirst:
    """What is likely enough within reach, alone or as the end of a run; at least one."""

    sees_canvas = False

    def __init__(self, reach: int, run: float, probability: float, *, twins: bool = False) -> None:
        self._reach = reach
        self._run = run
        self._probability = probability
        self._twins = twins

    def choose(self, proposals: Proposals) -> Sequence[int]:
        """See `UnmaskingRule.choose`."""
        places = proposals.places
        order = sorted(range(len(proposals)), key=lambda i: places[i])
        near = [i for i in order if places[i] < places[order[0]] + self._reach]
        sure = [proposals.confidence(i) for i in range(len(proposals))]
        waiting = set() if self._twins else _less_sure_twins(proposals, order, sure)
        found: list[int] = []
        together, before = 1.0, None
        for i in near:
            together = sure[i] * (together if before == places[i] - 1 else 1.0)
            before = places[i]
            if i in waiting:
                together = 0.0
            elif sure[i] >= self._probability or together >= self._run:
                found.append(i)
        return found or [near[surest([sure[i] for i in near])[0]]]


def _less_sure_twins(proposals: Proposals, order: Sequence[int], sure: Sequence[float]) -> set[int]:
    """Of neighbours that propose one token, no end, those that are less sure than the other."""
    places, tokens = proposals.places, proposals.tokens
    return {
        right if sure[left] >= sure[right] else left
        for left, right in pairwise(order)
        if places[left] == places[right] - 1
        and tokens[left] == tokens[right]
        and tokens[left] not in proposals.end
    }


def build(engines: Engines, settings: FrontierSettings, aids: Aids) -> CanvasStrategy:
    """The strategy on the large model."""
    rule = NearFirst(settings.reach, settings.run, settings.probability, twins=settings.twins)
    return CanvasStrategy("frontier", None, canvas_engine(engines), rule, settings)
