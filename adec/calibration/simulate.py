"""A strategy run on records instead of models: its own code, its own decisions, forwards that take what the cost tables say.

Row t of a record stands for position t whatever was written before it: after a token that the large model would not have written, the
answer is taken to go on as recorded. So an exact strategy runs as it would, but for what drafts off the path look like.

Speeds as they were to be expected from records and forward times alone, to be held against the runs.

A strategy runs on the records (`recorded.Simulator`), on the very prompts of its real runs; its forwards take what the cost tables say. Two
things are read off real runs: the pace of the machine, from plain decoding, and adec's own time, from a strategy's first runs
(`PILOT`), since caches are colder between real forwards than between replayed ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from statistics import median

import numpy as np

from adec.answering.plan import Plan
from adec.calibration.forward_times import CostTable
from adec.calibration.prompts import Prompt
from adec.calibration.recording import Column, Record
from adec.calibration.trial import Measured, Point, Run, Runner, without_outliers
from adec.decoding.meter import Meter
from adec.decoding.pair.clock.cost_curve import Curves
from adec.engines.base import Engine
from adec.engines.pair import Engines
from adec.engines.table import TableEngine
from adec.events.records import Role
from adec.signals import ListedScores, Scores


class RecordedEngine(TableEngine):
    """One model of a pair as a record has it."""

    def __init__(self, engine: Engine, role: Role) -> None:
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
        self._role = role
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


class TableMeter(Meter):
    """Takes what a forward costs from tables by role."""

    def __init__(self, tables: Mapping[Role, CostTable]) -> None:
        self._tables = tables
        super().__init__()

    def stated_ms(self, engine: Engine, model: Role, count: int) -> float:
        return self._tables[model].ms(count, engine.length)


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
        self._engines = {role: RecordedEngine(engine, role) for role, engine in engines.items()}
        self._runner = Runner(
            dataclasses.replace(plan, curves=curves),
            Engines(**self._engines),
            max_tokens=max_tokens,
            meter=lambda: TableMeter(tables),
        )

    def run(self, point: Point, prompt: Prompt, record: Record) -> Run:
        """What the point would have written, and what that would have taken. Raises UsageError or EngineError."""
        for engine in self._engines.values():
            engine.play(record)
        return self._runner.run(point, Prompt(prompt.text))


PILOT = 3
"""Runs from which a strategy's own time is read."""
SIMULATED = 40
"""Runs of a strategy that are foretold."""


def forecast(
    measured: Sequence[Measured],
    prompts: Sequence[Prompt],
    records: Sequence[Record],
    simulator: Simulator,
    tick: Callable[[float], None] = lambda share: None,
) -> None:
    """Fill in `forecast_ms` of every point that was run.

    The pace is what plain decoding's forwards took over what the tables say: a machine that warms up is not the one of the minute before. Plain
    decoding itself is foretold without it.
    """

    def foretold(point: Measured) -> list[Run]:
        count = min(SIMULATED, len(point.runs))
        return [
            simulator.run(point.point, prompt, record)
            for prompt, record in zip(prompts[:count], records[:count], strict=True)
        ]

    plain = next(m for m in measured if m.point.strategy == "plain")
    expected = foretold(plain)
    for number, point in enumerate(measured):
        tick(number / len(measured))
        if not point.runs:
            continue
        if point is plain:
            pace, runs = 1.0, expected
        else:
            runs = foretold(point)
            # a point that was given up early ran beside the first of plain's runs
            pace = forwards_ms(without_outliers(plain.runs[: len(runs)])) / max(
                1e-9, forwards_ms(expected[: len(runs)])
            )
        point.forecast_ms = pace * forwards_ms(runs) + own_ms(point.runs[:PILOT])


def forwards_ms(runs: Sequence[Run]) -> float:
    """Forwards of a token, milliseconds."""
    return sum(r.ms - r.own_ms for r in runs) / max(1, sum(r.decoded for r in runs))


def own_ms(runs: Sequence[Run]) -> float:
    """adec's own time of a token, the median of runs: a pause of the process falls into one of them."""
    return median([r.own_ms / max(1, r.decoded) for r in runs]) if runs else 0.0
