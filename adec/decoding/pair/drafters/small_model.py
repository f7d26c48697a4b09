"""The pair's small model as a drafter: a chain or a tree of its likeliest tokens, or of tokens sampled in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, Protocol

import numpy as np

from adec.decoding.meter import Meter
from adec.decoding.pair.chance import SeededChance, place
from adec.decoding.pair.costs import Timings
from adec.decoding.pair.drafters.drafter import Outcome, Proposal, path_tokens
from adec.decoding.pair.growth import Growth
from adec.decoding.pair.law import Law, at_temperature, law_of
from adec.decoding.pair.shapes import best_first, layered_tree, ordered_tree
from adec.decoding.prompt import read_prompt
from adec.decoding.strategy import Limits
from adec.engines.base import Engine
from adec.events.records import Purpose, Step
from adec.sampling import uniform
from adec.signals import Row, Scores, Signals, likeliest
from adec.tree import ROOT, TokenTree

Shape = Literal["likeliest", "ordered", "layers"]
"""likeliest: chosen, for verifiers that follow the target. ordered, layers: DySpec's two, for rejection."""

SIBLINGS = 4
"""Tokens considered at each node of a chosen tree: at greedy decoding a fifth is committed less than one time in fifty."""


class StopRule(Protocol):
    """Ends a draft by what the small model's distribution says, never by a token that was drawn from it."""

    signal: tuple[float, float] | None
    reason: str | None

    def start(self) -> None:
        """A new answer begins."""
        ...

    def stops(self, signals: Signals, row: int, depth: int) -> bool:
        """Whether the token of this row shall be left to the large model."""
        ...

    def learn(self, outcome: Outcome) -> None:
        """Take in what became of a draft."""
        ...


class SmallModel:
    """Drafts by an engine of its own, which moves along the tree by rewinding and reading the missing part of a path.

    With a chosen shape and a temperature, the first child of a node is drawn with the very number that the target's draw
    at that position will use: the likelier the two models' laws, the likelier both draws agree.
    """

    name = "small"
    streak = 0

    def __init__(
        self,
        engine: Engine,
        shape: Shape = "likeliest",
        *,
        temperature: float | None = None,
        threshold: float = 0.001,
        stop: StopRule | None = None,
    ) -> None:
        """`temperature`: of sampled drafts, None for the run's own. `threshold`: of the layered shape."""
        self.timings = Timings()
        self._engine = engine
        self._shape = shape
        self._temperature = temperature
        self._threshold = threshold
        self._stop = stop
        self._limits = Limits(0)
        self._sequence: Sequence[int] = ()
        self._path: list[int] = []  # draft tokens in the cache, after the whole sequence
        self._pending: TokenTree | None = None  # a layered tree in the cache, behind a stem
        self._stem = 0

    @property
    def sampled_in_order(self) -> bool:
        return self._shape != "likeliest"

    def start(self, prompt: Sequence[int], limits: Limits) -> Iterator[Step]:
        self._limits = limits
        self._path = []
        self._pending = None
        if self._stop is not None:
            self._stop.start()
        self._engine.rewind(0)
        if len(prompt) > 1:
            # the last token stays unread: the first draft's forward needs one to feed
            yield from read_prompt(self._engine, "small", prompt[:-1], limits.chunk)

    def draft_ms(self, count: int = 1) -> float:
        """What a forward of `count` tokens is expected to take; 0 while unknown."""
        curve = self.timings.curve
        return 0.0 if curve is None else curve.ms(count)

    def unread(self, sequence: Sequence[int]) -> int:
        """Tokens that it must read before it can draft."""
        return len(sequence) - self._engine.length

    def propose(self, sequence: Sequence[int], growth: Growth, meter: Meter) -> Proposal:
        if len(sequence) > self._engine.context:
            return Proposal(TokenTree())
        self._sequence, self._growth, self._meter = sequence, growth, meter
        self._path = []
        proposal = Proposal(TokenTree())
        self._proposal = proposal
        end = self._limits.end
        if self._shape == "likeliest":
            grown = best_first(growth, self._successors, end, self._cost)
        else:
            chance = SeededChance(self._limits.sampler.seed, len(sequence))
            if self._shape == "ordered":
                grown = ordered_tree(growth, self._law, chance, end, self._cost)
            else:
                grown = layered_tree(
                    growth, self._laws, self._threshold, chance, end, self._layer_cost
                )
        proposal.tree, proposal.chances, proposal.laws = grown.tree, grown.chances, grown.laws
        proposal.sources = [self.name] * len(grown.tree)
        if self._stop is not None:
            proposal.stop, proposal.signal = self._stop.reason, self._stop.signal
        return proposal

    def learn(self, outcome: Outcome) -> None:
        if outcome.proposal.tree.tokens and self._stop is not None:
            self._stop.learn(outcome)
        committed = list(outcome.sequence[outcome.base :])
        if self._pending is not None:
            path, nodes = [], len(self._pending)
            for node in outcome.verdict.path:
                if node + self._stem >= nodes:
                    break
                path.append(node + self._stem)
            self._engine.keep([*range(self._stem), *path])
            self._pending = None
        elif self._engine.length > outcome.base:
            stands = _common(self._path, committed)
            self._engine.rewind(min(self._engine.length, outcome.base + stands))
        self._path = []
        if self._engine.length >= len(outcome.sequence):
            # the newest token stays unread: the next draft's forward needs one to feed
            self._engine.rewind(len(outcome.sequence) - 1)

    def _successors(self, tree: TokenTree, node: int) -> list[tuple[int, float]]:
        path = path_tokens(tree, node)
        scores = self._row(path)
        if scores is None:
            return []
        self._proposal.rows[node] = scores, 0
        if self._stop is not None and self._stop.stops(scores, 0, len(path)):
            return []
        row = scores.row(0)
        count = 1 if self._growth.room.leaves == 1 else SIBLINGS
        sampler = self._limits.sampler
        if sampler.greedy:
            ids = [int(row.argmax())] if count == 1 else likeliest(row, count).tolist()
        else:
            first = self._coupled(row, len(self._sequence) + len(path))
            ids = [first]
            if count > 1:
                ids += [t for t in likeliest(row, count).tolist() if t != first][: count - 1]
        return [(token, scores.probability(0, token)) for token in ids]

    def _coupled(self, row: Row, position: int) -> int:
        """The small model's draw with the number of `Sampler.pick`, in float32: a draft need not be drawn exactly."""
        sampler = self._limits.sampler
        number = uniform(sampler.seed, position)
        if sampler.top_k or sampler.top_p < 1 or sampler.min_p:
            law = law_of(row, sampler)
            return int(law.ids[place(law.probabilities, number)])
        return place(np.exp((row - row.max()) / np.float32(sampler.temperature)), number)

    def _law(self, tree: TokenTree, node: int) -> Law | None:
        scores = self._row(path_tokens(tree, node))
        if scores is None:
            return None
        self._proposal.rows[node] = scores, 0
        return law_of(scores.row(0), at_temperature(self._limits.sampler, self._temperature))

    def _laws(self, tree: TokenTree, layer: Sequence[int]) -> list[Law] | None:
        """The laws of a layer; a pending tree grows, so that what was read is not read again."""
        engine, sequence = self._engine, self._sequence
        if len(tree) == 0:
            law = self._law(tree, ROOT)
            return None if law is None else [law]
        if len(sequence) + len(tree) > engine.context:
            return None
        known = 0 if self._pending is None else len(self._pending)
        if known == 0 and engine.length > len(sequence):
            engine.rewind(len(sequence))
        stem = sequence[engine.length :]
        whole = behind(stem, tree)
        scores = self._meter.forward_tree(
            engine, "small", "draft", whole, first_row=len(stem) + layer[0], known=known
        )
        self._timed(len(whole) - known)
        self._pending, self._stem, self._path = whole, len(stem), []
        sampler = at_temperature(self._limits.sampler, self._temperature)
        laws = []
        for node in layer:
            self._proposal.rows[node] = scores, node - layer[0]
            laws.append(law_of(scores.row(node - layer[0]), sampler))
        return laws

    def _row(self, path: list[int]) -> Scores | None:
        """The row after the sequence and `path`; None when the context is full."""
        engine, sequence = self._engine, self._sequence
        base = len(sequence)
        if base + len(path) > engine.context:
            return None
        feed = self._missing(path)
        keep = base + len(path) - feed
        if keep < engine.length:
            engine.rewind(keep)
        fed = [*sequence[engine.length :], *path] if keep < base else path[keep - base :]
        purpose: Purpose = "catch_up" if base - keep > 1 else "draft"
        scores = self._meter.forward(engine, "small", purpose, fed)
        self._timed(len(fed))
        self._path = list(path)
        return scores

    def _missing(self, path: Sequence[int]) -> int:
        """Tokens to feed for the row after `path`; at least the last one."""
        base, length = len(self._sequence), self._engine.length
        if length < base or not path:
            return base + len(path) - min(length, base - 1)
        return len(path) - min(_common(self._path, path), len(path) - 1)

    def _cost(self, tree: TokenTree, node: int) -> float:
        return self.draft_ms(self._missing(path_tokens(tree, node)))

    def _layer_cost(self, tree: TokenTree, size: int) -> float:
        return self.draft_ms(max(1, size))

    def _timed(self, count: int) -> None:
        ms = self._meter.forwards[-1].ms
        self.timings.record(count, ms)
        self._growth.spend(ms)


def behind(stem: Sequence[int], tree: TokenTree) -> TokenTree:
    """`tree` below a chain of tokens that must be read first."""
    whole = TokenTree.chain(stem)
    offset = len(stem)
    whole.tokens += tree.tokens
    whole.parents += [parent + offset for parent in tree.parents]
    whole.probabilities += tree.probabilities
    return whole


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """Length of the common prefix."""
    for i, (a, b) in enumerate(zip(first, second, strict=False)):
        if a != b:
            return i
    return min(len(first), len(second))
