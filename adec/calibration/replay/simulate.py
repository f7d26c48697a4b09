"""Strategies run on records instead of models: their own code, with forwards that cost what the
tables say.

Row t of a record stands for position t whatever was written before it: after a token that the
large model would not have written, the answer goes on as recorded. So a strategy decides as in a
real run, except that what it sees behind a wrong draft belongs to the recorded answer.

`forecast` predicts the speed of real runs this way. It reads two things off real runs: the pace of
the machine, from plain decoding, and adec's own time, from the first runs of a strategy, since
caches are colder between real forwards than between simulated ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from statistics import median
from time import perf_counter
from typing import Any, Protocol

import numpy as np

from adec.calibration.costs.cost_tables import CostTable
from adec.calibration.replay.recording import Record
from adec.calibration.trials.measured import Measured, without_outliers
from adec.calibration.trials.trial import Point, Trial
from adec.decoding.meter import Meter
from adec.decoding.pair.clock.cost_curve import Curves
from adec.decoding.registry import find_method
from adec.decoding.strategy import Aids, Limits, Prompt, Strategy
from adec.engines.base import Engine, ModelHeader
from adec.engines.pair import Engines
from adec.engines.sequence import SequenceEngine
from adec.events.records import Kind, Role, Step, Token
from adec.signals import Row, Scores
from adec.tree import ROOT, TokenTree

PILOT = 3
"""Runs from which a strategy's own time is read."""
FORECAST = 40
"""Runs of a strategy whose speed is forecast."""


class Columns:
    """One model's columns of a record, made ready for random access."""

    def __init__(self, record: Record, role: Role, size: int) -> None:
        """`size`: tokens in the vocabulary."""
        large = role == "large"
        self.size = size
        self.entropies = record.large_entropy if large else record.small_entropy
        self.margins = record.large_margin if large else record.small_margin
        self.distances = record.distance
        ids = record.large_ids if large else record.small_ids
        chances = record.large_list if large else record.small_list
        self.listed = [
            {int(token): p for token, p in zip(*row, strict=True)}
            for row in zip(ids, chances, strict=True)
        ]
        self.argmax = [int(row[0]) for row in ids]
        self.left_over = [
            max(0.0, 1 - sum(listed.values())) / max(1, size - len(listed))
            for listed in self.listed
        ]
        """Probability of each token that is not listed: what the list leaves, spread evenly."""


class RecordedScores:
    """Scores of some positions of a record. A row of logits is built only when it is asked for."""

    __slots__ = ("_columns", "_places")

    def __init__(self, columns: Columns, places: Sequence[int]) -> None:
        self._columns = columns
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    def argmax(self, index: int) -> int:
        return self._columns.argmax[self._places[index]]

    def top(self, index: int, count: int) -> list[tuple[int, float]]:
        return list(self._columns.listed[self._places[index]].items())[:count]

    def entropy(self, index: int) -> float:
        return self._columns.entropies[self._places[index]]

    def margin(self, index: int) -> float:
        return self._columns.margins[self._places[index]]

    def probability(self, index: int, token: int) -> float:
        place = self._places[index]
        return self._columns.listed[place].get(token, self._columns.left_over[place])

    def distance(self, index: int, other: Scores, row: int) -> float:
        """What is on record for this position; `other` is taken to be the other model's row."""
        return self._columns.distances[self._places[index]]

    def row(self, index: int) -> Row:
        place = self._places[index]
        listed, left_over = self._columns.listed[place], self._columns.left_over[place]
        row = np.full(self._columns.size, np.log(max(1e-12, left_over)), dtype=np.float32)
        row[list(listed)] = np.log(np.maximum(list(listed.values()), 1e-12))
        return row


class RecordedEngine(SequenceEngine):
    """One model as a record has it."""

    def __init__(self, engine: Engine) -> None:
        recorded = engine.capabilities & {"rewind", "tree"}
        header = ModelHeader(engine.info, engine.vocabulary, recorded)
        super().__init__(header, engine.tokenizer, context=engine.context, branches=engine.branches)

    def play(self, columns: Columns, prompt: int) -> None:
        """Be this record, after a prompt of so many tokens, from now on; the sequence is empty."""
        self._columns, self._prompt = columns, prompt
        self.rewind(0)

    def _append(self, tokens: Sequence[int], rows: int) -> Scores:
        end = self.length + len(tokens) + 1
        return self._scores(range(end - rows, end))

    def _append_tree(self, tree: TokenTree, known: int, first_row: int) -> Scores:
        lengths: list[int] = []
        for parent in tree.parents:
            lengths.append(1 + (self.length if parent == ROOT else lengths[parent]))
        return self._scores(lengths[first_row:])

    def _keep(self, tree: TokenTree, path: Sequence[int]) -> None:
        pass

    def _cut(self, length: int) -> None:
        pass

    def _restore(self, length: int) -> bool:
        return True

    def _free(self) -> None:
        pass

    def _scores(self, lengths: Sequence[int]) -> Scores:
        # nobody looks at rows inside the prompt or behind the end: the nearest row will do
        last = len(self._columns.argmax) - 1
        return RecordedScores(
            self._columns, [min(last, max(0, length - self._prompt)) for length in lengths]
        )


class TableMeter(Meter):
    """Takes what a forward costs from tables; the work of recorded engines is nobody's time."""

    def __init__(self, known_ms: Callable[[Role, int, int], float]) -> None:
        """`known_ms`: from role, tokens and length of the sequence to milliseconds."""
        self._known_ms = known_ms
        super().__init__()

    def stated_ms(self, engine: Engine, model: Role, count: int) -> float:
        return self._known_ms(model, count, engine.length)

    def stated_canvas_ms(self, model: Role, count: int) -> float:
        return self._known_ms(model, count, 0)

    def _ms(self, began: float, stated: float | None) -> float:
        self._began += perf_counter() - began
        return stated or 0.0

    def step(self, kind: Kind, tokens: tuple[Token, ...] = (), **parts: Any) -> Step:
        own_ms = 1000 * (perf_counter() - self._began)
        return Step(kind, tokens, tuple(self._forwards), own_ms, **parts)


def limits_by_tables(tables: Mapping[Role, CostTable], engines: Engines, max_tokens: int) -> Limits:
    """Limits of a run whose forwards take what the tables say."""
    known_ms = cache(lambda role, count, length: tables[role].ms(count, length))
    return Limits(
        max_tokens,
        engines["large"].vocabulary.end,
        signals=False,
        meter=lambda: TableMeter(known_ms),
    )


class Replay(Protocol):
    """Runs points on records, by their number."""

    @property
    def pair(self) -> bool:
        """Whether the records are of two models."""
        ...

    @property
    def records(self) -> Sequence[Any]:
        """Whatever has the answer's `tokens`."""
        ...

    def run(self, point: Point, index: int, *, on_path: bool = False) -> Trial:
        """See `Simulator.run`."""
        ...


class Simulator:
    """A `Replay` on records of what both models say of an answer."""

    def __init__(
        self,
        engines: Engines,
        tables: Mapping[Role, CostTable],
        curves: Curves,
        prompts: Sequence[Sequence[int]],
        records: Sequence[Record],
        *,
        max_tokens: int,
    ) -> None:
        """`curves`: forward times that strategies are given, as by a profile. `prompts`: ids."""
        self.records = records
        self.pair = "small" in engines
        self._prompts = prompts
        self._engines = {role: RecordedEngine(engine) for role, engine in engines.items()}
        self._columns: dict[tuple[int, Role], Columns] = {}
        self._curves = curves
        self._limits = limits_by_tables(tables, engines, max_tokens)

    def run(self, point: Point, index: int, *, on_path: bool = False) -> Trial:
        """What the point would write for a prompt, and what that would take.

        `on_path`: end the run where it leaves the large model's answer; the token that differs is
        its last one. Raises UsageError or EngineError.
        """
        answer, prompt = self.records[index].tokens, Prompt(tuple(self._prompts[index]))
        for role, engine in self._engines.items():
            if (index, role) not in self._columns:
                size = len(engine.vocabulary)
                self._columns[index, role] = Columns(self.records[index], role, size)
            engine.play(self._columns[index, role], len(prompt.ids))
        tokens: list[int] = []
        ms = own_ms = 0.0
        by_large = fed = forwards = 0
        for step in self._strategy(point).generate(prompt, self._limits):
            own_ms += step.own_ms
            for forward in step.forwards:
                if forward.purpose != "prompt":
                    ms += forward.ms
                    if forward.model == "large":
                        fed += forward.tokens
                        forwards += 1
            for token in step.tokens:
                by_large += token.source == "large"
                tokens.append(token.id)
                if on_path and answer[len(tokens) - 1 : len(tokens)] != (token.id,):
                    return Trial(tuple(tokens), "", ms + own_ms, own_ms, by_large, fed, forwards)
        return Trial(tuple(tokens), "", ms + own_ms, own_ms, by_large, fed, forwards)

    def _strategy(self, point: Point) -> Strategy:
        engines = Engines(**self._engines)
        method = find_method(point.strategy)
        return method.build(engines, point.build_settings(), Aids(self._curves.by_role))


def forecast(
    measured: Sequence[Measured],
    simulator: Replay,
    tick: Callable[[float], None] = lambda share: None,
) -> None:
    """Fill in `forecast_ms` of every point that was run, and `left` of approximate ones.

    The pace is what plain decoding's forwards took, divided by what the tables say: a machine may
    have warmed up since. Plain decoding itself is forecast without it.
    """
    records = simulator.records
    plain = next(m for m in measured if m.point.is_yardstick)
    expected = [simulator.run(plain.point, i) for i in range(min(FORECAST, len(plain.runs)))]
    for number, point in enumerate(measured):
        tick(number / len(measured))
        count = min(FORECAST, len(point.runs))
        if point is plain or not count:
            continue
        simulated = range(count if point.exact else len(records))
        runs = [simulator.run(point.point, i) for i in simulated]
        if not point.exact:
            left = sum(run.tokens != records[i].tokens for i, run in enumerate(runs))
            point.left = left / len(records)
        # a point that was given up early ran beside the first of plain's runs
        pace = forwards_ms(without_outliers(plain.runs[:count])) / max(
            1e-9, forwards_ms(expected[:count])
        )
        point.forecast_ms = pace * forwards_ms(runs[:count]) + own_ms(point.runs[:PILOT])
    plain.forecast_ms = forwards_ms(expected) + own_ms(plain.runs[:PILOT])


def forwards_ms(runs: Sequence[Trial]) -> float:
    """Milliseconds of forwards for a token."""
    return sum(r.ms - r.own_ms for r in runs) / max(1, sum(r.decoded for r in runs))


def own_ms(runs: Sequence[Trial]) -> float:
    """adec's own time for a token in milliseconds: the median of runs, since a pause of the process
    falls into one of them."""
    return median([r.own_ms / max(1, r.decoded) for r in runs]) if runs else 0.0
