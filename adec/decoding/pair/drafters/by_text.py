"""A small model of another vocabulary as a drafter: it keeps its own ids of the same text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from adec.decoding.meter import Meter
from adec.decoding.pair.clock.cost_curve import CostCurve
from adec.decoding.pair.drafters.drafter import Outcome, Proposal, empty
from adec.decoding.pair.drafters.growth import Growth
from adec.decoding.pair.drafters.small_model import SmallModel, StopRule
from adec.decoding.strategy import Aids, Limits
from adec.engines.base import Engine
from adec.engines.pair import Engines
from adec.engines.vocabularies.retokenise import Retokeniser
from adec.events.records import Step
from adec.sampling import Sampler
from adec.tree import ROOT, TokenTree


class SmallModelByText(SmallModel):
    """Drafts a chain in the small model's ids, and proposes it in those of the large one.

    Drafts are the likeliest tokens at any temperature: a draw by the large model's number would not
    make them likelier to be drawn, as ids are numbered in another order.
    """

    def __init__(
        self,
        engine: Engine,
        words: Retokeniser,
        curve: CostCurve | None = None,
        *,
        stop: StopRule | None = None,
    ) -> None:
        """`words`: from the vocabulary of `engine` to the large model's and back."""
        super().__init__(engine, curve, stop=stop)
        self._words = words
        self._read = 0

    def start(self, prompt: Sequence[int], limits: Limits) -> Iterator[Step]:
        meter = limits.meter()
        self._words.restart()
        self._read = 0
        self._take_in(prompt)
        yield meter.step("prompt")
        ids = self._words.ids
        ends = self.engine.vocabulary.end
        own = replace(limits, sampler=self.sampler_of(limits), end=ends)
        # what does not fit is not read; `propose` then has nothing to say
        yield from super().start(ids if len(ids) <= self.engine.context else (), own)

    def sampler_of(self, limits: Limits) -> Sampler:
        """How drafts are chosen."""
        return Sampler()

    def unread_of_prompt(self, prompt: Sequence[int], limits: Limits) -> int:
        return len(prompt)  # roughly: its own ids are not known before it starts

    def unread(self, sequence: Sequence[int]) -> int:
        return max(1, len(self._words.ids) - self.engine.length)

    def propose(self, sequence: Sequence[int], growth: Growth, meter: Meter) -> Proposal:
        self._take_in(sequence)
        words = self._words
        if not words.ids or words.held or self.engine.length >= len(words.ids):
            return empty()
        growth.room = replace(growth.room, leaves=1)
        return self.in_large_ids(super().propose(words.ids, growth, meter), growth)

    def in_large_ids(self, own: Proposal, growth: Growth) -> Proposal:
        """A draft of the small model's ids as one of the large model's."""
        room = min(growth.room.nodes, growth.room.depth)
        tree, chances, node = TokenTree(), [], ROOT
        for token, chance in self._words.drafts(own.tree.tokens, own.chances)[:room]:
            node = tree.add(node, token, chance)
            chances.append(chance)
        # the small model's rows are over ids of its own, and describe no token of the large one
        return Proposal(tree, [self.name] * len(tree), chances, stop=own.stop, signal=own.signal)

    def learn(self, outcome: Outcome) -> None:
        """Cut the cache to what still stands of its text; the newest id stays unread."""
        self.teach_stop(outcome)
        engine, before = self.engine, len(self._words.ids)
        cached = [*self._words.ids, *self._path]
        standing = self._take_in(outcome.sequence)
        ids = self._words.ids
        least = min(standing, before)
        while least < min(len(ids), engine.length) and ids[least] == cached[least]:
            least += 1
        keep = max(0, min(least, len(ids) - 1))
        if engine.length > keep:
            outcome.meter.rewind(engine, "small", keep)
        self._path = []

    def _take_in(self, sequence: Sequence[int]) -> int:
        """Read what is new in the sequence; returns how many ids stand as they were."""
        new = sequence[self._read :]
        self._read = len(sequence)
        return self._words.read(new)


def small_drafter(engines: Engines, aids: Aids, *, stop: StopRule | None = None) -> SmallModel:
    """The small model as a drafter: by ids where they mean the same to both, else by text."""
    engine, curve = engines["small"], aids.curves.get("small")
    if engines.share_ids:
        return SmallModel(engine, curve, stop=stop)
    return SmallModelByText(engine, Retokeniser(engine, engines["large"]), curve, stop=stop)
