"""How recipes are put together: one drafter with its budget, on the large model."""

from __future__ import annotations

from typing import Literal

from adec.decoding.pair.accept import FollowTarget, Verifier
from adec.decoding.pair.clock.chooser import ClockChooser
from adec.decoding.pair.clock.round_costs import RoundCosts
from adec.decoding.pair.draft_verify import DraftChooser, DraftVerify, FixedDraft
from adec.decoding.pair.drafters.drafter import Drafter
from adec.decoding.strategy import Aids
from adec.engines.pair import Engines


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
