"""Hidden Transfer: a token's own state, mapped, stands for the states of the tokens to come.

Wu et al. 2024, "Parallel Decoding via Hidden Transfer for Lossless Large Language Model
Acceleration", arXiv 2404.12022. At a chosen layer t_i a linear map makes the pseudo state of the
token i steps ahead of the state of the token that is read:

    h_{+i} = W_i h + b_i   at layer t_i

It runs through the remaining layers with the real states, sees the prefix and the pseudo states
before it, and the model's own norm and head turn it into a draft. One forward verifies the tree of
drafts and makes those of the next round, behind every node of the tree. Greedy answers are plain's:
the model itself writes every token, and a draft only saves forwards.

What is different here: the trees. The paper's shape is fixed; here nodes go by the drafts' own
chances, and only nodes that are likely enough to be reached carry pseudo states. The maps come
from `adec calibrate MODEL --fit hidden-transfer`, which also chooses the layers, by what each
foresees on answers that it has not learned from. Sampled answers follow the target: exact, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from adec.decoding.heads.foresight import Foreseeing, Foresight
from adec.decoding.pair.draft_verify import DraftVerify
from adec.decoding.pair.wiring import one_drafter
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids
from adec.engines.pair import Engines
from adec.engines.protocols import PseudoEngine

KIND = "hidden-transfer"
"""Of the part that it needs, and the name of the strategy."""


@dataclass(frozen=True, slots=True)
class TransferSettings:
    """`--set hidden-transfer.NAME=VALUE`."""

    budget: int = setting(8, "nodes of a tree at most", least=1, most=256)
    top: int = setting(4, "tokens of each distance that a tree may hold", least=1, most=64)
    carry: float = setting(
        0.1, "how likely a node must be reached to carry pseudo states", least=0, most=1
    )


def parts(settings: TransferSettings) -> tuple[str, ...]:
    """The part that the maps are in."""
    return (KIND,)


def build(engines: Engines, settings: TransferSettings, aids: Aids) -> DraftVerify:
    """Hidden Transfer on the large model."""
    engine = cast(PseudoEngine, engines["large"])
    foreseeing = Foreseeing(engine, lambda: aids.part(KIND), carry=settings.carry)
    drafter = Foresight(KIND, foreseeing, settings.top)
    models = Engines(large=foreseeing)
    return one_drafter(KIND, "arXiv 2404.12022", models, aids, drafter, settings.budget)
