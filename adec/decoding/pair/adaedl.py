"""AdaEDL: early draft stopping by an entropy-based lower bound of acceptance.

Agrawal et al. 2024, "AdaEDL: Early Draft Stopping for Speculative Decoding of Large Language Models via an Entropy-based Lower Bound on Token
Acceptance Probability", arXiv 2410.18351.

What is different here: how lambda starts and moves is not known to us from the paper; the start is ours and the update is
Draft & Verify's. When the first row already stops the draft, the round is plain.
"""

from __future__ import annotations

from dataclasses import dataclass

from adec.decoding.pair.drafters.small_model import SmallModel
from adec.decoding.pair.planner import FixedPlanner
from adec.decoding.pair.speculation import Speculating
from adec.decoding.pair.stops import EntropyBoundStop
from adec.decoding.pair.verifiers import FollowTarget
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids
from adec.engines.pair import Engines


@dataclass(frozen=True, slots=True)
class AdaEdlSettings:
    """`--set adaedl.NAME=VALUE`."""

    gamma: float = setting(0.2, "weight of the entropy in the bound (paper: about 0.2)", least=0)
    start: float = setting(0.5, "lambda at first: the least bound to draft on", least=0, most=1)
    target: float = setting(0.8, "acceptance that lambda steers to", least=0, most=1)
    step: float = setting(0.01, "how far lambda moves before smoothing", least=0, most=1)
    longest: int = setting(16, "tokens drafted at most", least=1, most=256)


def build(engines: Engines, settings: AdaEdlSettings, aids: Aids) -> Speculating:
    """AdaEDL on a pair."""
    stop = EntropyBoundStop(settings.gamma, settings.start, settings.target, settings.step)
    planner = FixedPlanner(SmallModel(engines["small"], stop=stop), settings.longest, chain=True)
    return Speculating("adaedl", "arXiv 2410.18351", engines["large"], planner, FollowTarget())
