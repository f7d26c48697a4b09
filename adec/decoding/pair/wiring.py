"""How recipes are put together: one drafter with its budget, on the large model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from adec.decoding.pair.accept import FollowTarget, Verifier
from adec.decoding.pair.clock.acceptance_rate import Rates
from adec.decoding.pair.clock.chooser import ClockChooser
from adec.decoding.pair.clock.round_costs import RoundCosts
from adec.decoding.pair.draft_chooser import DraftChooser, Turn
from adec.decoding.pair.draft_verify import DraftVerify
from adec.decoding.pair.drafters.drafter import Drafter, Outcome, Proposal, empty
from adec.decoding.pair.drafters.growth import Growth
from adec.decoding.strategy import Aids, Limits
from adec.engines.pair import Engines
from adec.events.records import Step


class FixedDraft(DraftChooser):
    """One drafter, always, and a number of nodes that no clock decides: as in most papers."""

    def __init__(self, drafter: Drafter, nodes: int, *, chain: bool = False) -> None:
        """`nodes`: at most. `chain`: no branches, even if the verifier could judge them."""
        self.drafter = drafter
        self._nodes = nodes
        self._chain = chain
        self._rates = Rates()  # stays empty: a node's value is then the drafter's own probability

    def start(self, prompt: Sequence[int], limits: Limits) -> Iterator[Step]:
        yield from self.drafter.start(prompt, limits)

    def propose(self, turn: Turn) -> Proposal:
        if not turn.has_room:
            return empty()
        room = turn.as_chain().room if self._chain else turn.room
        growth = Growth(self._nodes, room, self._rates)
        return self.drafter.propose(turn.sequence, growth, turn.meter)

    def learn(self, outcome: Outcome) -> None:
        self.drafter.learn(outcome)


def one_drafter(
    name: str,
    paper: str | None,
    engines: Engines,
    aids: Aids,
    drafter: Drafter,
    budget: int,
    verifier: Verifier | None = None,
    *,
    size: Literal["time", "fixed"] = "fixed",
    chain: bool = False,
) -> DraftVerify:
    """A strategy with one drafter, whose verifier follows the target unless another is given.

    `size`: always `budget` nodes (fixed), or as many of them as pay by the clock (time). `chain`:
    no branches.
    """
    large, verifier = engines["large"], verifier or FollowTarget()
    chooser: DraftChooser = FixedDraft(drafter, budget, chain=chain)
    if size == "time":
        costs = RoundCosts(large, aids.curves.get("large"))
        chooser = ClockChooser(
            [drafter], costs, in_order=verifier.in_order, longest=budget, chain=chain
        )
    return DraftVerify(name, paper, large, chooser, verifier)
