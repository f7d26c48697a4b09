"""Speculative cascades: a deferral rule decides token by token whose distribution counts.

Narasimhan et al. 2024, "Faster Cascades via Speculative Decoding", arXiv 2405.19261 (ICLR 2025).

What is different here: verification follows the mixture instead of rejecting from it, with one
number for both models' draws, so a draft that is not deferred always stands. The token after the
last draft is the large model's: no row of the small model exists there. The paper sweeps alpha;
ours is one point. `accept=exact` is the yardstick: the same drafts, the large model's law.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

from adec.decoding.pair.accept import FollowTarget, Pick, Verifier, follow_the_target, picks
from adec.decoding.pair.draft_verify import DraftVerify
from adec.decoding.pair.drafters.drafter import Accepted, Proposal
from adec.decoding.pair.drafters.small_model import SmallModel
from adec.decoding.pair.wiring import one_drafter
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids, Limits
from adec.engines.pair import Engines
from adec.signals import Scores
from adec.tree import TokenTree


def defers(rule: str, alpha: float, small: Scores, row: int, large: Scores, large_row: int) -> bool:
    """Whether the large model's law p, not the small one's q, counts for the token of two rows.

        chow         max q < 1 - alpha
        difference   max q < max p - alpha
        optimal      max q < max p - alpha * TV(p, q)

    Probabilities are at temperature 1, before warpers.
    """
    q = small.probability(row, small.argmax(row))
    if rule == "chow":
        return q < 1 - alpha
    p = large.probability(large_row, large.argmax(large_row))
    if rule == "difference":
        return q < p - alpha
    if not p - alpha <= q < p:
        return q < p  # a total variation lies between 0 and 1: its value makes no difference
    return q < p - alpha * large.distance(large_row, small, row)


def follow_the_mixture(
    tree: TokenTree,
    deferred: Callable[[int], bool],
    pick: Pick,
    draft_pick: Pick,
    end: Collection[int],
) -> Accepted:
    """Follow the small model's draw where the rule does not defer, else the large one's.

    Exact for that mixture. `draft_pick` draws from the small model with the number that `pick`
    would use; a small model that drafted with it is followed wherever it is not deferred. After a
    leaf there is no row of the small model, so the large one writes.
    """
    inner = set(tree.parents)

    def mixed(node: int, depth: int) -> int:
        if node in inner and not deferred(node):
            return draft_pick(node, depth)
        return pick(node, depth)

    return follow_the_target(tree, mixed, end)


@dataclass(frozen=True)
class Cascade(Verifier):
    """The verifier: `follow_the_mixture` by one of the deferral rules."""

    rule: str
    alpha: float

    def judge(self, proposal: Proposal, scores: Scores, base: int, limits: Limits) -> Accepted:
        def deferred(node: int) -> bool:
            small, row = proposal.rows[node]
            return defers(self.rule, self.alpha, small, row, scores, node + 1)

        def draft_pick(node: int, depth: int) -> int:
            small, row = proposal.rows[node]
            return limits.sampler.pick(small, row, base + depth)

        return follow_the_mixture(
            proposal.tree, deferred, picks(scores, base, limits), draft_pick, limits.end
        )


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


def build(engines: Engines, settings: CascadeSettings, aids: Aids) -> DraftVerify:
    """A speculative cascade on a pair."""
    exact = settings.accept == "exact"
    verifier: Verifier = FollowTarget() if exact else Cascade(settings.rule, settings.alpha)
    drafter = SmallModel(engines["small"])
    return one_drafter(
        "cascade", "arXiv 2405.19261", engines, aids, drafter, settings.drafts, verifier, chain=True
    )
