"""FLy: loose verification. A draft that differs stands when the drafts after it agree and another word was possible.

Li et al. 2025, "Training-Free Loosely Speculative Decoding: Accepting Semantically Correct Drafts Beyond Exact Match", arXiv 2511.22972
(ICLR 2026).

What is different here: the gate's threshold is not known to us from the paper; ours is in nats of the large model's row. End
tokens are always strict. The paper's drafter, itself sped up by n-grams, is the plain small model here. `accept=exact` is
the yardstick: the same drafts, the large model's own tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from adec.decoding.pair.drafters.small_model import SmallModel
from adec.decoding.pair.planner import FixedPlanner
from adec.decoding.pair.speculation import Speculating
from adec.decoding.pair.verifiers import FollowTarget, Loose, Verifier
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids
from adec.engines.pair import Engines


@dataclass(frozen=True, slots=True)
class FlySettings:
    """`--set fly.NAME=VALUE`."""

    window: int = setting(
        6, "a mismatch stands when window - 1 drafts after it agree (paper: 6)", least=2, most=64
    )
    gate: float = setting(
        0.3, "nats of the large model's row below which a mismatch never stands", least=0
    )
    drafts: int = setting(15, "tokens drafted each round", least=1, most=256)
    accept: Literal["loose", "exact"] = setting(
        "loose", "loose: the paper. exact: the same drafts, the large model's own tokens"
    )


def build(engines: Engines, settings: FlySettings, aids: Aids) -> Speculating:
    """FLy on a pair."""
    verifier: Verifier = Loose(settings.window, settings.gate)
    if settings.accept == "exact":
        verifier = FollowTarget()
    planner = FixedPlanner(SmallModel(engines["small"]), settings.drafts, chain=True)
    return Speculating("fly", "arXiv 2511.22972", engines["large"], planner, verifier)
