"""Typical acceptance: a draft stands if the model finds it likely enough, not only likeliest.

Cai et al. 2024, "Medusa", arXiv 2401.10774, section 2.3.1; PPD (arXiv 2405.18628) uses it when it
samples. A draft x after a node stands where

    p(x) > min(threshold, alpha * exp(-H(p)))

The longest path that stands is taken, and the model's own choice follows it. That is no sample of
the model's distribution: approximate.
"""

from __future__ import annotations

from math import exp

from adec.decoding.pair.accept import Verifier, picks
from adec.decoding.pair.drafters.drafter import Accepted, Proposal
from adec.decoding.strategy import Limits
from adec.signals import Scores
from adec.tree import ROOT


class TypicalAcceptance(Verifier):
    """Judges by probability and entropy at temperature 1."""

    chains_only = False

    def __init__(self, threshold: float, alpha: float) -> None:
        self._threshold = threshold
        self._alpha = alpha

    def judge(self, proposal: Proposal, scores: Scores, base: int, limits: Limits) -> Accepted:
        tree, pick = proposal.tree, picks(scores, base, limits)
        depths: dict[int, int] = {ROOT: 0}
        bounds: dict[int, float] = {}
        for node, parent in enumerate(tree.parents):
            if parent not in depths or (parent != ROOT and tree.tokens[parent] in limits.end):
                continue
            if parent not in bounds:
                entropy = scores.entropy(parent + 1)
                bounds[parent] = min(self._threshold, self._alpha * exp(-entropy))
            likely = scores.probability(parent + 1, tree.tokens[node]) > bounds[parent]
            if likely or tree.tokens[node] == pick(parent, depths[parent]):
                depths[node] = depths[parent] + 1
        # of equally long paths, the one that was added first: the likelier one
        last = max(depths, key=lambda node: depths[node])
        path = tuple(tree.path(last))
        if path and tree.tokens[last] in limits.end:
            return Accepted(path, None, True)
        return Accepted(path, pick(last, len(path)), not tree.children(last))
