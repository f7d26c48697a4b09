"""A strategy run on records instead of models: its own code, its own decisions, forwards that take what the cost tables say.

Row t of a record stands for position t whatever was written before it: after a token that the large model would not have written, the
answer is taken to go on as recorded. So an exact strategy runs as it would, but for what drafts off the path look like.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from adec.answering.plan import Plan
from adec.calibration.costs import CostTable
from adec.calibration.prompts import Prompt
from adec.calibration.signals import Column, Record
from adec.calibration.trial import Point, Run, Runner
from adec.decoding.pair.costs import Curves
from adec.engines.base import Engine
from adec.engines.pair import Engines
from adec.engines.table import TableEngine
from adec.events.records import Role
from adec.signals import ListedScores, Scores
from adec.tree import TokenTree


class RecordedEngine(TableEngine):
    """One model of a pair as a record has it. `stated_ms` is what the last forward would have taken."""

    def __init__(self, engine: Engine, role: Role, costs: CostTable) -> None:
        super().__init__(
            lambda prefix: (),
            size=len(engine.vocabulary),
            name=engine.info.name,
            vocabulary=engine.vocabulary,
            context=engine.context,
            capabilities=engine.capabilities,
        )
        self.tokenizer = engine.tokenizer
        self.branches = engine.branches
        self.stated_ms = 0.0
        self._role = role
        self._costs = costs
        self._prompt = 0
        self._entropies: Column = np.zeros(0)
        self._ids: Column = np.zeros((0, 1))
        self._chances: Column = np.zeros((0, 1))

    def play(self, record: Record) -> None:
        """Be this record from now on; the sequence is empty."""
        self.rewind(0)
        self.fed.clear()
        self._prompt = record.prompt_tokens
        own = self._role == "large"
        self._entropies = record.large_entropy if own else record.small_entropy
        self._ids = record.large_ids if own else record.small_ids
        self._chances = record.large_list if own else record.small_list

    def forward(self, tokens: Sequence[int], *, rows: int = 1) -> Scores:
        self.stated_ms = self._costs.ms(len(tokens), self.length)
        return super().forward(tokens, rows=rows)

    def forward_tree(self, tree: TokenTree, *, first_row: int = 0) -> Scores:
        known = 0 if self._tree is None else len(self._tree)
        self.stated_ms = self._costs.ms(len(tree) - known, self.length)
        return super().forward_tree(tree, first_row=first_row)

    def _scores(self, prefixes: Sequence[tuple[int, ...]]) -> Scores:
        # a prompt's inner rows and what lies past the end are nobody's business: the nearest row will do
        last = len(self._entropies) - 1
        places = [min(last, max(0, len(prefix) - self._prompt)) for prefix in prefixes]
        return ListedScores(
            self._entropies[places],
            self._ids[places],
            self._chances[places],
            size=len(self.vocabulary),
        )


class Simulator:
    """Runs points on records."""

    def __init__(
        self,
        plan: Plan,
        engines: Engines,
        tables: Mapping[Role, CostTable],
        curves: Curves,
        *,
        max_tokens: int,
    ) -> None:
        """`curves`: what strategies that look at the clock are told beforehand, as a profile would."""
        self._large = RecordedEngine(engines.large, "large", tables["large"])
        self._small = (
            None
            if engines.small is None
            else RecordedEngine(engines.small, "small", tables["small"])
        )
        self._runner = Runner(
            dataclasses.replace(plan, curves=curves),
            Engines(self._large, self._small),
            max_tokens=max_tokens,
        )

    def run(self, point: Point, prompt: Prompt, record: Record) -> Run:
        """What the point would have written, and what that would have taken. Raises UsageError or EngineError."""
        for engine in (self._large, self._small):
            if engine is not None:
                engine.play(record)
        return self._runner.run(point, Prompt(prompt.text))
