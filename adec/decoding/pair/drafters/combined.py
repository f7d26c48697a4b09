"""Several drafters as one: the first that has something, or a tree that merges what they have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from adec.decoding.meter import Meter
from adec.decoding.pair.drafters.drafter import Drafter, Outcome, Proposal
from adec.decoding.pair.growth import FixedGrowth, Growth
from adec.decoding.pair.shapes import best_first
from adec.decoding.strategy import Limits
from adec.events.records import Step
from adec.tree import ROOT, TokenTree

OFFERED = 32
"""Nodes that each drafter of a merged tree may offer."""


class _Several:
    def __init__(self, drafters: Sequence[Drafter]) -> None:
        self._drafters = drafters
        self._limits = Limits(0)

    def start(self, prompt: Sequence[int], limits: Limits) -> Iterator[Step]:
        self._limits = limits
        for drafter in self._drafters:
            yield from drafter.start(prompt, limits)

    def learn(self, outcome: Outcome) -> None:
        for drafter in self._drafters:
            drafter.learn(outcome)

    @property
    def name(self) -> str:
        return "+".join(drafter.name for drafter in self._drafters)

    @property
    def streak(self) -> int:
        return max(drafter.streak for drafter in self._drafters)


class FirstOf(_Several):
    """The first drafter with a proposal wins the round."""

    @property
    def sampled_in_order(self) -> bool:
        return all(drafter.sampled_in_order for drafter in self._drafters)

    def propose(self, sequence: Sequence[int], growth: Growth, meter: Meter) -> Proposal:
        for drafter in self._drafters:
            proposal = drafter.propose(sequence, growth, meter)
            if len(proposal):
                return proposal
        return Proposal(TokenTree())


class Merged(_Several):
    """One tree of every drafter's nodes; a node that several propose has the greatest of their chances.

    Meant for drafters that need no model: each offers a tree, and the nodes that are tried are chosen among all of them.
    """

    sampled_in_order = False

    def propose(self, sequence: Sequence[int], growth: Growth, meter: Meter) -> Proposal:
        offers: dict[tuple[int, int], tuple[int, float, str]] = {}
        below: dict[int, list[int]] = {}
        for drafter in self._drafters:
            offered = FixedGrowth(OFFERED, growth.room, growth.rates)
            proposal = drafter.propose(sequence, offered, meter)
            places = {ROOT: ROOT}
            for node, (token, parent) in enumerate(
                zip(proposal.tree.tokens, proposal.tree.parents, strict=True)
            ):
                above, chance = places[parent], proposal.chances[node]
                known = offers.get((above, token))
                place = len(offers) if known is None else known[0]
                places[node] = place
                if known is None or chance > known[1]:
                    offers[above, token] = place, chance, proposal.sources[node]
                if known is None:
                    below.setdefault(above, []).append(token)
        where: dict[int, int] = {ROOT: ROOT}

        def successors(tree: TokenTree, node: int) -> list[tuple[int, float]]:
            if node != ROOT:
                where[node] = offers[where[tree.parents[node]], tree.tokens[node]][0]
            place = where[node]
            found = [(token, offers[place, token][1]) for token in below.get(place, ())]
            return sorted(found, key=lambda item: -item[1])

        grown = best_first(growth, successors, self._limits.end)
        tree = grown.tree
        sources = [
            offers[where[parent], token][2]
            for token, parent in zip(tree.tokens, tree.parents, strict=True)
        ]
        return Proposal(tree, sources, grown.chances)
