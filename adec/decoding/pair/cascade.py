"""Speculative cascades: a deferral rule inside verification decides whose distribution counts, token by token.

Narasimhan et al. 2024, "Faster Cascades via Speculative Decoding", arXiv 2405.19261 (ICLR 2025).

What is different here: verification follows the mixture instead of rejecting from it, with one number for both models' draws, so a
draft that is not deferred always stands. The token after the last draft is the large model's: no row of the small model exists there.
The paper sweeps alpha; ours is one point. `accept=exact` is the yardstick: the same drafts, the large model's law.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from adec.decoding.pair.drafters.small_model import SmallModel
from adec.decoding.pair.planner import FixedPlanner
from adec.decoding.pair.speculation import Speculating
from adec.decoding.pair.verifiers import Cascade, FollowTarget, Verifier
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids
from adec.engines.pair import Engines


@dataclass(frozen=True, slots=True)
class CascadeSettings:
    """`--set cascade.NAME=VALUE`."""

    rule: Literal["optimal", "difference", "chow"] = setting(
        "optimal", "when the large model's law counts: the paper's optimal rule, or a simpler one"
    )
    alpha: float = setting(0.3, "higher: the small model is trusted more often", least=0, most=1)
    drafts: int = setting(5, "tokens drafted each round (paper: 5)", least=1, most=256)
    accept: Literal["cascade", "exact"] = setting(
        "cascade", "cascade: the paper. exact: the same drafts, the large model's own tokens"
    )


def build(engines: Engines, settings: CascadeSettings, aids: Aids) -> Speculating:
    """A speculative cascade on a pair."""
    verifier: Verifier = Cascade(settings.rule, settings.alpha)
    if settings.accept == "exact":
        verifier = FollowTarget()
    planner = FixedPlanner(SmallModel(engines["small"]), settings.drafts, chain=True)
    return Speculating("cascade", "arXiv 2405.19261", engines["large"], planner, verifier)
