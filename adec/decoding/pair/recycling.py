"""Token Recycling: draft what the large model nearly said before, no second model.

Luo et al. 2024, "Turning Trash into Treasure: Accelerating Inference of Large Language Models with Token Recycling", arXiv
2408.08696.

What is different here: in place of the paper's static tree of about 80 nodes, nodes go by their chance, which is a guess by rank
until acceptance has been counted, and the tree is as large as the clock allows. A token that no forward has passed yet
has its successors in the prompt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from adec.decoding.pair.drafters.recycling import Recycling
from adec.decoding.pair.free import free_drafting
from adec.decoding.pair.speculation import Speculating
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids
from adec.engines.pair import Engines


@dataclass(frozen=True, slots=True)
class RecyclingSettings:
    """`--set recycling.NAME=VALUE`."""

    budget: int = setting(80, "nodes of a tree at most (paper: about 80)", least=1, most=256)
    size: Literal["time", "fixed"] = setting(
        "time", "time: grow while tokens per millisecond rise. fixed: always the budget (the paper)"
    )


def build(engines: Engines, settings: RecyclingSettings, aids: Aids) -> Speculating:
    """Token Recycling on the large model alone."""
    return free_drafting(
        "recycling", "arXiv 2408.08696", engines, Recycling(), settings.budget, settings.size
    )
