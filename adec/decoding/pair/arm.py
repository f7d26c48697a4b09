"""A drafter with what is known of it: how often it was right, whether it pays, and what a draft of it may be expected to bring."""

from __future__ import annotations

from dataclasses import dataclass, field

from adec.decoding.pair.costs import CostCurve
from adec.decoding.pair.drafters.drafter import Drafter, Proposal
from adec.decoding.pair.drafters.small_model import SmallModel
from adec.decoding.pair.growth import Room
from adec.decoding.pair.rates import Rates, expected_tokens
from adec.decoding.pair.throttle import Throttle

FORESEEN = 16
"""Depths that a prediction of the small model's worth looks at."""
FIRST_REACH = 6
"""Depth that a first draft is taken to reach; how sure its drafter is of each node ends most drafts before."""
OWN_MS = 0.4
"""The strategy's own time in a round, before it is measured: what rounds of three drafts took on two cores (0.3 to 0.7). It matters where forwards take less than a millisecond."""
ANSWER = 3.0
"""Trials that what earlier answers showed of acceptance weighs at most."""
LONGEST_REACH = 64
SHRINK = 1 / 3
"""What is left of an arm's reach after a round in which nothing stood; it grows at once (exllamav3: up fast, down slow)."""
LONGEST_PAUSE = 16
"""Rounds for which a small model that had nothing is not asked again, at most."""


@dataclass(slots=True)
class Arm:
    """One drafter of several."""

    drafter: Drafter
    rates: Rates = field(default_factory=Rates)
    throttle: Throttle = field(default_factory=Throttle)
    own_ms: float = OWN_MS
    """Running mean of the strategy's own time in its rounds."""
    reach: float = FIRST_REACH
    """Depth that was accepted lately; drafts go to twice that and two more. Counted acceptance forgets too slowly to keep
    a text that stops being foreseeable from costing several very long drafts."""
    said: Proposal | None = None
    """What it would have drafted this round, where it was asked, and a little more."""
    pause: int = 0
    """Rounds for which it is not asked: running a small model to hear that it is unsure costs time."""
    _in_vain: int = 0

    def begin(self) -> None:
        """An answer begins, perhaps to another kind of text: what was learnt is kept, but may be outvoted at once."""
        self.rates.soften(ANSWER)
        self.throttle.begin()
        self.reach = max(self.reach, FIRST_REACH)
        self.pause = self._in_vain = 0

    def reached(self, accepted: int, deepest: int) -> None:
        """A draft of `deepest` nodes in depth was accepted down to `accepted`."""
        if accepted == deepest:
            # the end of the draft censors how far it would have gone, and a draft may be short for its cost alone
            self.reach = min(LONGEST_REACH, max(accepted + 1, 2 * self.reach))
        else:
            self.reach = max(accepted, SHRINK * self.reach)

    def asked(self, proposal: Proposal) -> None:
        """The small model was run, and this is worth verifying of what it wrote: the more often in a row nothing is, the longer the pause."""
        self._in_vain = 0 if len(proposal) else self._in_vain + 1
        self.pause = min(LONGEST_PAUSE, 2 ** (self._in_vain - 2)) if self._in_vain > 1 else 0


def foreseen_rate(
    arm: Arm, small: SmallModel, curve: CostCurve, *, behind: int, unread: int, room: Room
) -> float:
    """Tokens per millisecond of the best chain that the small model is expected to write.

    `behind`: tokens that it must read first; `unread`: those that the large model reads in any case.
    """
    most = min(FORESEEN, room.nodes, room.depth)
    tokens = expected_tokens([arm.rates.at_depth(depth) for depth in range(most)])
    spent = arm.own_ms + small.draft_ms(behind) - small.draft_ms()
    return max(
        tokens[k] / max(spent + k * small.draft_ms() + curve.ms(unread + k), 1e-6)
        for k in range(1, len(tokens))
    )
