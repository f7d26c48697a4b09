"""A calibration from costs to proof, in stages that share the time; each item is kept in the journal as soon as it is measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any, TypeVar

from adec.calibration.costs import CostTable, measure_costs, table_data, tables_from
from adec.calibration.figures import figures_of, percentiles, set_break_even
from adec.calibration.fit import (
    Candidate,
    cascade_candidates,
    ead_candidates,
    forwards_of,
    paper_point,
    promising,
)
from adec.calibration.journal import Journal
from adec.calibration.lookahead import learn_thresholds
from adec.calibration.machine import Machine
from adec.calibration.predict import predict
from adec.calibration.progress import Progress
from adec.calibration.prompts import Prompt, PromptSet
from adec.calibration.proof import prove
from adec.calibration.result import Measured, Result
from adec.calibration.selection import CANDIDATES, halfway, to_test
from adec.calibration.signals import Answer, Record, answer_from, record, record_from, to_data
from adec.calibration.trial import Interrupted, Metric, Point, Run, Runner, loss_of, run_from
from adec.decoding.pair.costs import Curves
from adec.decoding.registry import remaining
from adec.errors import UsageError
from adec.events import Role

T = TypeVar("T")

COSTS, SIGNALS, RUNS, REFINED = 0.12, 0.32, 0.55, 0.6
"""Shares of the time at which the stages before the proof end (the last: begins no other point); the proof has the rest, since it needs the most prompts."""
ADADEC = 0.04
"""Share of the time, beside the other stages, for the solutions that adadec's thresholds are learned from."""
COST_SECONDS = 40.0
"""Longest time for costs: beyond that the medians no longer move."""
LEAST_ANSWERS = 4
"""Answers that each stage takes whatever the time: with fewer nothing can be fitted."""
EXACT_PAIR = ("speculate", "smartspec", "dyspec", "adaedl")
EXACT_SINGLE = ("speculate", "lookup", "recycling")
FAMILIES = ("ead", "cascade")
"""Approximate methods with a fitted threshold."""
PLAIN = Point("plain")


@dataclass(frozen=True)
class Wishes:
    """What a person asks of a calibration."""

    keep: float = 0.97
    metric: Metric = "agreement"
    confidence: float = 0.95
    seconds: float = 300.0
    max_tokens: int = 256


class Calibration:
    """One calibration on loaded engines."""

    def __init__(
        self,
        runner: Runner,
        prompts: PromptSet,
        wishes: Wishes,
        machine: Machine,
        journal: Journal,
        progress: Progress,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        """Raises UsageError when a prompt does not fit into the context."""
        self._runner = runner
        self._engines = runner.engines
        self._prompts = prompts
        self._wishes = wishes
        self._machine = machine
        self._journal = journal
        self._progress = progress
        self._clock = clock
        self._began = clock()
        self._remarks = list(prompts.remarks)
        self._check_prompts()

    def run(self) -> Result:
        """Measure everything. Raises KeyboardInterrupt after Ctrl-C, with all that was measured in the journal; EngineError."""
        tables = self._costs()
        answers, records = self._answers()
        signals = figures_of(records, pair=self._engines.small is not None)
        large, small = (
            table.curve(signals.context) if table is not None else None
            for table in (tables["large"], tables.get("small"))
        )
        assert large is not None
        curves = Curves(large, small)
        self._runner.plan = dataclasses.replace(self._runner.plan, curves=curves)
        own_ms = self._own_ms()
        self._progress.stage("thresholds of adadec")
        until = self._clock() + ADADEC * self._wishes.seconds
        thresholds, found = learn_thresholds(
            self._engines, self._prompts.fit, self._runner.encode, self._journal,
            late=lambda: self._clock() > until, tick=self._progress.tick,
        )  # fmt: skip
        self._remarks += found
        points = self._points(records, curves, own_ms)
        measured = self._try(points, answers)
        measured += self._refine(measured, answers, records, curves)
        predict(measured, records, curves)
        set_break_even(signals, curves, measured)
        tests, held_out = self._prove(measured)
        result = Result(
            metric=self._wishes.metric,
            keep=self._wishes.keep,
            confidence=self._wishes.confidence,
            machine=self._machine,
            tables=tables,
            signals=signals,
            measured=measured,
            tests=tests,
            held_out=held_out,
            thresholds=thresholds,
            remarks=self._remarks,
            seconds=self._clock() - self._began,
        )
        if result.budget is not None:
            result.percentiles = percentiles(result.budget.point.point, records)
        return result

    def _check_prompts(self) -> None:
        context = self._engines.context
        for number, prompt in enumerate(self._prompts.all, 1):
            length = len(self._runner.encode(prompt))
            if length >= context:
                start = " ".join(prompt.text.split())[:40]
                raise UsageError(
                    f"the prompt that begins {start!r} has {length:,} tokens, the context holds {context:,}",
                    hint="shorten it, or give a larger --ctx if the model allows it",
                )
            if number % 50 == 0:
                self._progress.tick(0.0)

    def _late(self, share: float) -> bool:
        return self._clock() - self._began > share * self._wishes.seconds

    def _costs(self) -> dict[Role, CostTable]:
        self._progress.stage("forward times")
        known = self._kept("costs", tables_from)
        if known is not None:
            return known
        engines: dict[Role, Any] = {"large": self._engines.large}
        if self._engines.small is not None:
            engines["small"] = self._engines.small
        seconds = min(COST_SECONDS, COSTS * self._wishes.seconds)
        tables = measure_costs(engines, seconds=seconds, tick=self._progress.tick)
        self._journal.put("costs", {role: table_data(table) for role, table in tables.items()})
        return tables

    def _answers(self) -> tuple[list[Answer], list[Record]]:
        """The large model's answers to the prompts to fit on, and both models' opinion of them."""
        self._progress.stage("answers of the large model" if self._engines.small else "answers")
        answers: list[Answer] = []
        records: list[Record] = []
        for index, prompt in enumerate(self._prompts.fit):
            self._progress.tick(index / len(self._prompts.fit))
            if index >= LEAST_ANSWERS and self._late(SIGNALS):
                self._remarks.append(
                    f"the time allowed for {index} of {len(self._prompts.fit)} answers to fit on"
                )
                break
            answers.append(self._answer(f"fit {index}", prompt))
            kept = self._kept(f"record {index}", record_from)
            if kept is None:
                kept = record(self._engines, self._runner.encode(prompt), answers[-1].tokens)
                self._journal.put(f"record {index}", to_data(kept))
            records.append(kept)
        return answers, records

    def _answer(self, name: str, prompt: Prompt) -> Answer:
        kept = self._kept(f"answer {name}", answer_from)
        if kept is None:
            run = self._run(PLAIN, prompt)
            kept = Answer(run.tokens, run.text, run.ms, run.right)
            self._journal.put(f"answer {name}", to_data(kept))
        return kept

    def _own_ms(self) -> float:
        """adec's own time for a token of plain decoding, measured in a few answers."""
        runs = [self._trial(PLAIN, i, p) for i, p in enumerate(self._prompts.fit[:LEAST_ANSWERS])]
        return sum(run.own_ms for run in runs) / max(1, sum(run.decoded for run in runs))

    def _points(self, records: list[Record], curves: Curves, own_ms: float) -> list[Measured]:
        plan = self._runner.plan
        able = remaining(plan.large, plan.small)
        names = EXACT_PAIR if plan.small is not None else EXACT_SINGLE
        points = [Measured(PLAIN, True, forwards_ms=curves.large.ms(1))]
        points += [Measured(Point(name), True) for name in names if name in able]
        if plan.small is None or self._wishes.keep >= 1:
            return points
        self._progress.stage("replay")
        grids: dict[str, Callable[[], list[Candidate]]] = {
            "ead": lambda: ead_candidates(records, curves, own_ms),
            "cascade": lambda: cascade_candidates(records, curves, own_ms),
        }
        for family in FAMILIES:
            if family not in able:
                continue
            candidates = grids[family]()
            chosen = promising(candidates, self._wishes.keep, CANDIDATES)
            published = paper_point(candidates, self._wishes.keep) if family == "ead" else None
            if published is not None and published not in chosen:
                chosen.append(published)
            points += [Measured(c.point, False, forwards_ms=c.forwards_ms) for c in chosen]
        return points

    def _try(self, points: list[Measured], answers: list[Answer]) -> list[Measured]:
        """Run every point on the same prompts, interleaved, so that a slow moment hits all alike."""
        self._progress.stage("strategies for real")
        for index, own in enumerate(answers):
            if index >= LEAST_ANSWERS and self._late(RUNS):
                self._remarks.append(f"the time allowed for {index} prompts with every strategy")
                break
            prompt = self._prompts.fit[index]
            for place, measured in enumerate(points):
                self._progress.tick((index + place / len(points)) / len(answers))
                run = self._trial(measured.point, index, prompt)
                measured.runs.append(run)
                measured.unlike += run.tokens != own.tokens
                loss = self._loss(own, run, prompt)
                if loss is not None:
                    measured.losses.append(loss)
        return points

    def _refine(
        self,
        measured: list[Measured],
        answers: list[Answer],
        records: list[Record],
        curves: Curves,
    ) -> list[Measured]:
        """One more point a family, halfway between the fastest that kept the budget and the next one that did not.

        It runs later than the others, so plain decoding runs beside it again, and its times are set to the pace of the first runs.
        """
        plain = measured[0]
        count = len(plain.runs)
        found = []
        for family in FAMILIES:
            point = halfway(
                [m for m in measured if m.point.strategy == family], 1 - self._wishes.keep
            )
            if point is None or self._late(REFINED):
                continue
            fresh = Measured(point, False, forwards_ms=forwards_of(point, records, curves))
            again = Measured(PLAIN, True)
            for index, prompt in enumerate(self._prompts.fit[:count]):
                self._progress.tick(index / count)
                again.runs.append(self._trial(PLAIN, index, prompt, stage=f"{family} beside"))
                fresh.runs.append(self._trial(point, index, prompt))
                fresh.unlike += fresh.runs[-1].tokens != answers[index].tokens
                loss = self._loss(answers[index], fresh.runs[-1], prompt)
                if loss is not None:
                    fresh.losses.append(loss)
            pace = plain.ms_per_token / max(1e-9, again.ms_per_token)
            fresh.runs = [
                dataclasses.replace(run, ms=pace * run.ms, own_ms=pace * run.own_ms)
                for run in fresh.runs
            ]
            found.append(fresh)
        return found

    def _prove(self, measured: list[Measured]) -> tuple[dict[str, list[Any]], int]:
        level = 1 - self._wishes.keep
        families = {
            family: to_test([m for m in measured if m.point.strategy == family], level)
            for family in FAMILIES
        }
        families = {name: points for name, points in families.items() if points}
        losses: dict[Point, list[float]] = {m.point: [] for p in families.values() for m in p}
        held_out = 0
        if losses and level > 0:
            self._progress.stage("proof on held-out prompts")
            for index, prompt in enumerate(self._prompts.held_out):
                self._progress.tick(index / len(self._prompts.held_out))
                if index >= LEAST_ANSWERS and self._late(1.0):
                    self._remarks.append(
                        f"the time allowed for {index} of {len(self._prompts.held_out)} held-out prompts"
                    )
                    break
                own = self._answer(f"held out {index}", prompt)
                if self._wishes.metric == "answer" and not own.right:
                    continue
                held_out += 1
                for point, found in losses.items():
                    run = self._trial(point, index, prompt, stage="held out")
                    loss = self._loss(own, run, prompt)
                    if loss is not None:
                        found.append(loss)
        ordered = {
            name: [(m, losses[m.point]) for m in points] for name, points in families.items()
        }
        return prove(ordered, level, self._wishes.confidence), held_out

    def _loss(self, own: Answer, run: Run, prompt: Prompt) -> float | None:
        engine = self._engines.large
        return loss_of(self._wishes.metric, own, run, engine, self._runner.encode(prompt))

    def _trial(self, point: Point, index: int, prompt: Prompt, *, stage: str = "run") -> Run:
        name = f"{stage} {index} {point.label}"
        kept = self._kept(name, run_from)
        if kept is None:
            kept = self._run(point, prompt)
            self._journal.put(name, dataclasses.asdict(kept))
        return kept

    def _run(self, point: Point, prompt: Prompt) -> Run:
        try:
            return self._runner.run(point, prompt)
        except Interrupted:
            raise KeyboardInterrupt from None

    def _kept(self, name: str, read: Callable[[Any], T]) -> T | None:
        """An item of the journal; None when there is none, or it cannot be read."""
        data = self._journal.get(name)
        if data is None:
            return None
        try:
            return read(data)
        except (ValueError, TypeError, KeyError, AttributeError):
            self._journal.forget(name)
            return None
