"""DySpec: a token tree grown by the draft model's own probabilities, verified by rejection without replacement.

Xiong et al. 2024, "DySpec: Faster Speculative Decoding with Dynamic Token Tree Structure", arXiv 2410.11744 (WWW 2025).

What is different here: the budget is an upper bound, and a node is drawn only while expected tokens per millisecond rise
(`size=fixed` gives the paper's constant budget). Node values use acceptance as counted, with the paper's proxy, the draft probability, as
prior. The draft's law keeps its 64 likeliest tokens. A tree has as many leaves as the engine reserves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from adec.decoding.pair.drafters.small_model import SmallModel
from adec.decoding.pair.planner import FixedPlanner, Planner
from adec.decoding.pair.speculation import Speculating
from adec.decoding.pair.timed import TimedPlanner
from adec.decoding.pair.verifiers import FollowTarget, Rejection, Verifier
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids
from adec.engines.pair import Engines


@dataclass(frozen=True, slots=True)
class DySpecSettings:
    """`--set dyspec.NAME=VALUE`."""

    shape: Literal["greedy", "threshold"] = setting(
        "greedy", "greedy: a draft forward a node. threshold: one a layer"
    )
    budget: int = setting(64, "nodes of a tree at most (paper: 64)", least=1, most=256)
    size: Literal["time", "fixed"] = setting(
        "time", "time: grow while tokens per millisecond rise. fixed: always the budget (the paper)"
    )
    threshold: float = setting(
        1 / 64, "value below which no draw is tried (threshold shape; about 1 / budget)", least=0
    )
    temperature: float | None = setting(
        0.6, "of the draft (paper: 0.6); none: the run's own", least=0.05, most=100
    )
    accept: Literal["rejection", "follow"] = setting(
        "rejection", "rejection: accepts more. follow: the same tokens as plain with the same seed"
    )


def build(engines: Engines, settings: DySpecSettings, aids: Aids) -> Speculating:
    """DySpec on a pair."""
    temperature = settings.temperature
    drafter = SmallModel(
        engines["small"],
        "ordered" if settings.shape == "greedy" else "layers",
        # at temperature 0 a law has one token, and a tree of draws is a chain
        temperature=temperature,
        threshold=settings.threshold,
    )
    verifier: Verifier = Rejection() if settings.accept == "rejection" else FollowTarget()
    planner: Planner = FixedPlanner(drafter, settings.budget)
    if settings.size == "time":
        planner = TimedPlanner([drafter], in_order=verifier.in_order, longest=settings.budget)
    return Speculating("dyspec", "arXiv 2410.11744", engines["large"], planner, verifier)
