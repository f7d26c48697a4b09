"""BiLD: the small model writes until it is unsure; the large one then rolls back grave errors only.

Kim et al. 2023, "Speculative Decoding with Big Little Decoder", arXiv 2302.07863 (NeurIPS 2023). Fallback: the large model wakes where the
small one's greatest probability is below a threshold, or after ten tokens. Rollback: to the first draft that costs the large model more than
a threshold (nats, -log p).

What is different here: the defaults are one pair of thresholds that the authors use for translation; others belong in a profile.
`accept=exact` is the yardstick: the same fallback, the large model's own tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from adec.decoding.pair.drafters.small_model import SmallModel
from adec.decoding.pair.planner import FixedPlanner
from adec.decoding.pair.speculation import Speculating
from adec.decoding.pair.stops import ConfidenceStop
from adec.decoding.pair.verifiers import FollowTarget, RollBack, Verifier
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids
from adec.engines.pair import Engines


@dataclass(frozen=True, slots=True)
class BildSettings:
    """`--set bild.NAME=VALUE`."""

    fallback: float = setting(0.6, "confidence below which the large model wakes", least=0, most=1)
    rollback: float = setting(
        2.0, "nats, -log p of a draft under the large model, above which it falls", least=0
    )
    longest: int = setting(10, "tokens drafted at most", least=1, most=256)
    accept: Literal["rollback", "exact"] = setting(
        "rollback", "rollback: the paper. exact: the same fallback, the large model's own tokens"
    )


def build(engines: Engines, settings: BildSettings, aids: Aids) -> Speculating:
    """BiLD on a pair."""
    verifier: Verifier = RollBack(settings.rollback)
    if settings.accept == "exact":
        verifier = FollowTarget()
    drafter = SmallModel(engines["small"], stop=ConfidenceStop(settings.fallback))
    planner = FixedPlanner(drafter, settings.longest, chain=True)
    return Speculating("bild", "arXiv 2302.07863", engines["large"], planner, verifier)
