"""FLy: a draft that differs stands if those after it agree and another word was possible.

Li et al. 2025, "Training-Free Loosely Speculative Decoding: Accepting Semantically Correct Drafts
Beyond Exact Match", arXiv 2511.22972 (ICLR 2026).

What is different here: the paper does not tell us the gate's threshold; ours is in nats of the
large model's row. End tokens are always strict. The paper's drafter, itself sped up by n-grams, is
the plain small model here. `accept=exact` is the yardstick: the same drafts, the large model's own
tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from adec.decoding.pair.accept import FollowTarget, Pick, Verifier, picks
from adec.decoding.pair.draft_verify import DraftVerify
from adec.decoding.pair.drafters.by_text import small_drafter
from adec.decoding.pair.drafters.drafter import Accepted, Proposal
from adec.decoding.pair.wiring import one_drafter
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids, Limits
from adec.engines.pair import Engines
from adec.signals import Scores


def match_loosely(
    draft: Sequence[int],
    pick: Pick,
    window: int,
    end: Collection[int],
    loose: Callable[[int], bool] = lambda node: True,
) -> Accepted:
    """Accept a chain up to the first mismatch that is not followed by `window - 1` matches.

    So the last `window - 1` positions are strict. `loose(node)` is the gate: whether the row after
    `node` leaves room for another word at all. An end token is never accepted, and never passed
    over, against the target.
    """
    known: list[int] = []

    def picked(i: int) -> int:
        while len(known) <= i:
            known.append(pick(len(known) - 1, len(known)))
        return known[i]

    for i, token in enumerate(draft):
        if token != picked(i):
            ahead = range(i + 1, i + window)
            stands = (
                ahead[-1] < len(draft)
                and token not in end
                and picked(i) not in end
                and loose(i - 1)
                and all(draft[j] == picked(j) for j in ahead)
            )
            if not stands:
                return Accepted(tuple(range(i)), picked(i), False)
        if token in end:
            return Accepted(tuple(range(i + 1)), None, True)
    return Accepted(tuple(range(len(draft))), picked(len(draft)), True)


@dataclass(frozen=True)
class Loose(Verifier):
    """The verifier: `match_loosely` with a gate.

    `gate`: entropy (nats) of the target's row from which on it leaves room for another word; 0:
    always.
    """

    window: int
    gate: float

    def judge(self, proposal: Proposal, scores: Scores, base: int, limits: Limits) -> Accepted:
        def loose(node: int) -> bool:
            return self.gate <= 0 or scores.entropy(node + 1) >= self.gate

        return match_loosely(
            proposal.tree.tokens, picks(scores, base, limits), self.window, limits.end, loose
        )


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


def build(engines: Engines, settings: FlySettings, aids: Aids) -> DraftVerify:
    """FLy on a pair."""
    exact = settings.accept == "exact"
    verifier: Verifier = FollowTarget() if exact else Loose(settings.window, settings.gate)
    drafter = small_drafter(engines, aids)
    return one_drafter(
        "fly", "arXiv 2511.22972", engines, aids, drafter, settings.drafts, verifier, chain=True
    )
