"""What recipes share whose drafter needs no second model."""

from __future__ import annotations

from typing import Literal

from adec.decoding.pair.drafters.drafter import Drafter
from adec.decoding.pair.planner import FixedPlanner, Planner
from adec.decoding.pair.speculation import Speculating
from adec.decoding.pair.timed import TimedPlanner
from adec.decoding.pair.verifiers import FollowTarget
from adec.engines.pair import Engines


def free_drafting(
    name: str,
    paper: str | None,
    engines: Engines,
    drafter: Drafter,
    budget: int,
    size: Literal["time", "fixed"],
    *,
    chain: bool = False,
) -> Speculating:
    """The large model with one drafter, verified by following the target."""
    planner: Planner = FixedPlanner(drafter, budget, chain=chain)
    if size == "time":
        planner = TimedPlanner([drafter], longest=budget, chain=chain)
    return Speculating(name, paper, engines["large"], planner, FollowTarget())
