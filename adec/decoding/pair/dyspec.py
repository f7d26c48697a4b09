"""DySpec: a token tree grown by the draft model's own probabilities, verified by rejection.

Xiong et al. 2024, "DySpec: Faster Speculative Decoding with Dynamic Token Tree Structure", arXiv
2410.11744 (WWW 2025). Algorithm 1 is `ordered_tree`, algorithm 2 `layered_tree` (the printed
condition of its inner loop is reversed), algorithm 3 `accept.reject_without_replacement`.

What is different here: the budget is an upper bound, and a node is drawn only while expected tokens
per millisecond rise (`size=fixed` gives the paper's constant budget). Node values use acceptance as
counted, with the paper's proxy, the draft probability, as prior. The draft's law keeps its 64
likeliest tokens. A tree has as many leaves as the engine reserves.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Literal

from adec.decoding.pair.accept import FollowTarget, Rejection, Verifier
from adec.decoding.pair.clock.cost_curve import CostCurve
from adec.decoding.pair.draft_verify import DraftVerify
from adec.decoding.pair.drafters.drafter import Outcome
from adec.decoding.pair.drafters.draws import (
    Chance,
    Law,
    SeededChance,
    Weights,
    law_of,
)
from adec.decoding.pair.drafters.growth import Growth
from adec.decoding.pair.drafters.shapes import Grown
from adec.decoding.pair.drafters.small_model import Drafting, SmallModel
from adec.decoding.pair.wiring import one_drafter
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids, Limits
from adec.engines.base import Engine
from adec.engines.pair import Engines
from adec.events.records import Step
from adec.tree import ROOT, TokenTree


def ordered_tree(
    growth: Growth,
    law_after: Callable[[TokenTree, int], Law | None],
    chance: Chance,
    end: Collection[int],
    cost: Callable[[TokenTree, int], float] = lambda tree, node: 0.0,
) -> Grown:
    """Algorithm 1, the greedy tree: always the action of the greatest value next.

    An action is one draw: a node's first child, or one more sibling of those it has. Its value is
    the chance that verification gets there. Whether to draw is decided by values and distributions
    alone, before the draw, and a token once drawn stays: so siblings are an honest sample without
    replacement. A node's law, which takes a forward, is asked for only when its first draw is next;
    `law_after` returns None if nothing can follow. `cost(tree, node)`: milliseconds of that
    forward.
    """
    grown, rates, room = Grown(TokenTree(sampled_in_order=True)), growth.rates, growth.room
    order = count()
    # (-value, order, node, weights left, rank)
    heap: list[tuple[float, int, int, Weights | None, int]] = [(-1.0, next(order), ROOT, None, 0)]
    while heap:
        negative, _, node, left, rank = heapq.heappop(heap)
        value, depth = -negative, grown.depth(node) + 1
        if depth >= room.depth or ((rank or node == ROOT) and grown.leaves >= room.leaves):
            continue
        if left is None:
            if not growth.admits(value * rates.at_depth(depth), cost(grown.tree, node)):
                continue
            law = law_after(grown.tree, node)
            if law is None:
                continue
            grown.laws[node] = law
            left = law.probabilities.copy()
        drawn = _draw(grown, growth, node, left, rank, value, chance)
        if drawn is None:
            continue
        child, taken = drawn
        if left.sum() > 0:
            heapq.heappush(heap, (-value * (1 - taken), next(order), node, left, rank + 1))
        if grown.tree.tokens[child] not in end:
            heapq.heappush(heap, (-value * taken, next(order), child, None, 0))
    return grown


def layered_tree(
    growth: Growth,
    laws_after: Callable[[TokenTree, Sequence[int]], Sequence[Law] | None],
    threshold: float,
    chance: Chance,
    end: Collection[int],
    cost: Callable[[int], float] = lambda size: 0.0,
) -> Grown:
    """Algorithm 2, the threshold tree: every action worth at least `threshold`, a forward a layer.

    `laws_after(tree, layer)`: the laws after the nodes of a layer, in one forward; None if nothing
    can follow. `cost(size)`: milliseconds of that forward for a layer of `size` nodes.
    """
    grown, rates, room = Grown(TokenTree(sampled_in_order=True)), growth.rates, growth.room
    layer = [(ROOT, 1.0)]
    depth = 0
    while layer and depth < room.depth:
        hope = max(value for _, value in layer) * rates.at_depth(depth)
        if not growth.admits(hope, cost(len(layer))):
            break
        laws = laws_after(grown.tree, [node for node, _ in layer])
        if laws is None:
            break
        below: list[tuple[int, float]] = []
        for (node, value), law in zip(layer, laws, strict=True):
            grown.laws[node] = law
            left, rank = law.probabilities.copy(), 0
            while value >= threshold and left.sum() > 0:
                if (rank or node == ROOT) and grown.leaves >= room.leaves:
                    break
                drawn = _draw(grown, growth, node, left, rank, value, chance)
                if drawn is None:
                    break
                child, taken = drawn
                if grown.tree.tokens[child] not in end:
                    below.append((child, value * taken))
                value *= 1 - taken
                rank += 1
        layer = below
        depth += 1
    return grown


def _draw(
    grown: Grown, growth: Growth, node: int, left: Weights, rank: int, value: float, chance: Chance
) -> tuple[int, float] | None:
    """Draw one child if it is worth it: (node, chance of acceptance). Zeroes it in `left`.

    Before the draw its acceptance is the expectation of the token's own probability, sum p^2.
    """
    mass = left.sum()
    depth = grown.depth(node) + 1
    expected = growth.rates.accepted(float((left * left).sum() / (mass * mass)), depth, rank)
    if not growth.admits(value * expected):
        return None
    place = chance.draw(left)
    probability = float(left[place] / mass)
    taken = growth.rates.accepted(probability, depth, rank)
    child = grown.add(node, int(grown.laws[node].ids[place]), probability, rank == 0)
    growth.add(value * taken)
    left[place] = 0 * left[place]
    return child, taken


class SampledTree(SmallModel):
    """The small model drafting trees of tokens that are sampled in order, siblings and all."""

    sampled_in_order = True

    def __init__(
        self,
        engine: Engine,
        curve: CostCurve | None = None,
        *,
        temperature: float | None = None,
        threshold: float | None = None,
    ) -> None:
        """`temperature`: of the draft; None: the run's own. At 0 a tree of draws is a chain.

        `threshold`: of `layered_tree`; None: an `ordered_tree`.
        """
        super().__init__(engine, curve)
        self._temperature = temperature
        self._threshold = threshold
        self._pending: TokenTree | None = None  # a layered tree in the cache, below a stem
        self._stem = 0

    def start(self, prompt: Sequence[int], limits: Limits) -> Iterator[Step]:
        self._pending = None
        sampler, temperature = limits.sampler, self._temperature
        self._sampler = (
            sampler if temperature is None else replace(sampler, temperature=temperature)
        )
        yield from super().start(prompt, limits)

    def grow(self, draft: Drafting) -> Grown:
        end = self.limits.end
        chance = SeededChance(self.limits.sampler.seed, len(draft.sequence))
        if self._threshold is None:
            return ordered_tree(
                draft.growth,
                lambda tree, node: self._law(draft, tree, node),
                chance,
                end,
                lambda tree, node: self.cost(draft, tree, node),
            )
        return layered_tree(
            draft.growth,
            lambda tree, layer: self._laws(draft, tree, layer),
            self._threshold,
            chance,
            end,
            self.draft_ms,
        )

    def keep_standing(self, outcome: Outcome) -> None:
        if self._pending is None:
            super().keep_standing(outcome)
            return
        path, nodes = [], len(self._pending)
        for node in outcome.accepted.path:
            if node + self._stem >= nodes:
                break
            path.append(node + self._stem)
        self.engine.keep([*range(self._stem), *path])
        self._pending = None

    def _law(self, draft: Drafting, tree: TokenTree, node: int) -> Law | None:
        scores = self.row_after(draft, tree.tokens_to(node))
        if scores is None:
            return None
        draft.rows[node] = scores, 0
        return law_of(scores.row(0), self._sampler)

    def _laws(self, draft: Drafting, tree: TokenTree, layer: Sequence[int]) -> list[Law] | None:
        """The laws of a layer; the pending tree grows, so that nothing is read twice."""
        engine, sequence = self.engine, draft.sequence
        if len(tree) == 0:
            law = self._law(draft, tree, ROOT)
            return None if law is None else [law]
        if len(sequence) + len(tree) > engine.context:
            return None
        known = 0 if self._pending is None else len(self._pending)
        if known == 0 and engine.length > len(sequence):
            draft.meter.rewind(engine, "small", len(sequence))
        stem = sequence[engine.length :]
        whole = tree.below(stem)
        scores = draft.meter.forward_tree(
            engine, "small", "draft", whole, first_row=len(stem) + layer[0], known=known
        )
        self.record_time(draft, len(whole) - known)
        self._pending, self._stem, self._path = whole, len(stem), []
        laws = []
        for node in layer:
            draft.rows[node] = scores, node - layer[0]
            laws.append(law_of(scores.row(node - layer[0]), self._sampler))
        return laws


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


def build(engines: Engines, settings: DySpecSettings, aids: Aids) -> DraftVerify:
    """DySpec on a pair."""
    drafter = SampledTree(
        engines["small"],
        aids.curves.get("small"),
        temperature=settings.temperature,
        threshold=settings.threshold if settings.shape == "threshold" else None,
    )
    verifier: Verifier = Rejection() if settings.accept == "rejection" else FollowTarget()
    return one_drafter(
        "dyspec",
        "arXiv 2410.11744",
        engines,
        aids,
        drafter,
        settings.budget,
        verifier,
        size=settings.size,
    )
