"""A calibration from costs to proof, in stages that share the time; each item is kept in the journal as soon as it is measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from time import perf_counter

from adec.calibration.agreement import Signals, figures_of, percentiles, set_break_even
from adec.calibration.choose import Choice, Chooser, choice_from, left_by
from adec.calibration.forward_times import CostTable, measure_costs, table_data, tables_from
from adec.calibration.held_out import (
    CLOCKED,
    OVERTIME,
    PROVED_FAMILIES,
    TESTED,
    Proof,
    families_to_test,
    plan_from,
    prompts_to_ask,
    run_proof,
)
from adec.calibration.journal import PLAIN, Journal, Measurements
from adec.calibration.pause_thresholds import learn_thresholds
from adec.calibration.progress import Progress
from adec.calibration.prompts import PromptSet
from adec.calibration.recording import Answer, Record
from adec.calibration.result import Result
from adec.calibration.simulate import Simulator, forecast
from adec.calibration.trial import Measured, Metric, Runner
from adec.calibration.tryouts import LEAST_ANSWERS, Trying
from adec.decoding.pair.clock.cost_curve import Curves
from adec.decoding.registry import remaining
from adec.errors import UsageError
from adec.events.records import Role
from adec.machine import Machine

COSTS, SIGNALS, RUNS, REFINED, PROOF = 0.1, 0.15, 0.25, 0.05, 0.45
"""Shares of the time that the stages may take, each from its own beginning; what they leave over goes to the proof, which needs the most prompts."""
ADADEC = 0.04
"""Share of the time, beside the other stages, for the solutions that adadec's thresholds are learned from."""
COST_SECONDS = 40.0
"""Longest time for costs: beyond that the medians no longer move."""
ENOUGH_PROMPTS = 20
"""Prompts that every point shall be run on; where the time is short, fewer points are run instead."""


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
        self._measurements = Measurements(runner, journal, wishes.metric)
        self._prompts = prompts
        self._wishes = wishes
        self._machine = machine
        self._journal = journal
        self._progress = progress
        self._clock = clock
        self._began = clock()
        self._run_seconds = 0.0
        self._remarks = list(prompts.remarks)
        self._check_prompts()

    def run(self) -> Result:
        """Measure everything. Raises KeyboardInterrupt after Ctrl-C, with all that was measured in the journal; EngineError."""
        tables = self._costs()
        answers, records, run_seconds = self._answers()
        signals = figures_of(records, pair="small" in self._engines)
        curves = _curves(tables, signals)
        self._runner.plan = dataclasses.replace(self._runner.plan, curves=curves)
        self._progress.stage("thresholds of adadec")
        until = self._clock() + ADADEC * self._wishes.seconds
        thresholds, found = learn_thresholds(
            self._engines, self._prompts.fit, self._runner.encode, self._journal,
            late=lambda: self._clock() > until, tick=self._progress.tick,
        )  # fmt: skip
        self._remarks += found
        simulator = Simulator(
            self._runner.plan,
            self._engines,
            tables,
            curves,
            max_tokens=self._wishes.max_tokens,
        )
        choice = self._choose(simulator, records, curves, run_seconds)
        measured = self._try(choice, answers)
        for point in measured:
            if not point.exact:
                point.left = left_by(point.point, records, curves)
        self._progress.stage("forecasts")
        forecast(measured, self._prompts.fit, records, simulator, self._progress.tick)
        set_break_even(signals, curves, measured)
        proof = self._prove(measured, answers)
        result = Result(
            metric=self._wishes.metric,
            keep=self._wishes.keep,
            confidence=self._wishes.confidence,
            machine=self._machine,
            tables=tables,
            signals=signals,
            measured=measured,
            tests=proof.tests,
            held_out=proof.prompts,
            tried=choice.tried,
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

    def _over(self, share: float) -> Callable[[], bool]:
        """Asks whether that share of the time has passed since now: a stage that was held up takes nothing from the next."""
        until = self._clock() + share * self._wishes.seconds
        return lambda: self._clock() > until

    def _costs(self) -> dict[Role, CostTable]:
        self._progress.stage("forward times")
        known = self._measurements.kept("costs", tables_from)
        if known is not None:
            return known
        seconds = min(COST_SECONDS, COSTS * self._wishes.seconds)
        tables = measure_costs(self._engines, seconds=seconds, tick=self._progress.tick)
        self._measurements.keep(
            "costs", {role: table_data(table) for role, table in tables.items()}
        )
        return tables

    def _answers(self) -> tuple[list[Answer], list[Record], float]:
        """The large model's answers to the prompts to fit on, both models' opinion of them, and the seconds that one took."""
        self._progress.stage(
            "answers of the large model" if "small" in self._engines else "answers"
        )
        answers: list[Answer] = []
        records: list[Record] = []
        began, over = self._clock(), self._over(SIGNALS)
        for index, prompt in enumerate(self._prompts.fit):
            self._progress.tick(index / len(self._prompts.fit))
            if index >= LEAST_ANSWERS and over():
                self._remarks.append(
                    f"the time allowed for {index} of {len(self._prompts.fit)} answers to fit on"
                )
                break
            answers.append(self._measurements.answer(f"fit {index}", prompt))
            records.append(self._measurements.record(f"{index}", prompt, answers[-1]))
        # a resumed calibration reads most of them, and its clock says little
        seconds = max(
            (self._clock() - began) / len(answers), sum(a.ms for a in answers) / 1000 / len(answers)
        )
        return answers, records, seconds

    def _choose(
        self, simulator: Simulator, records: list[Record], curves: Curves, run_seconds: float
    ) -> Choice:
        self._progress.stage("replay")
        known = self._measurements.kept("points", choice_from)
        if known is not None:
            return known
        plan = self._runner.plan
        first = self._prompts.fit[:LEAST_ANSWERS]
        runs = [self._measurements.trial(PLAIN, i, prompt) for i, prompt in enumerate(first)]
        own_ms = sum(run.own_ms for run in runs) / max(1, sum(run.decoded for run in runs))
        chooser = Chooser(
            simulator,
            self._prompts.fit,
            records,
            curves,
            step_ms=own_ms,
            tick=self._progress.tick,
        )
        room = RUNS * self._wishes.seconds
        choice = chooser.choose(
            remaining(plan.models),
            Measured(PLAIN, True),
            keep=self._wishes.keep,
            most=int(room / max(1e-6, ENOUGH_PROMPTS * run_seconds)),
        )
        # times went into it: a resumed calibration goes on with the same points
        self._measurements.keep("points", choice.data())
        return choice

    def _try(self, choice: Choice, answers: list[Answer]) -> list[Measured]:
        self._progress.stage("strategies for real")
        trying = Trying(
            self._measurements,
            self._prompts.fit,
            answers,
            1 - self._wishes.keep,
            self._progress.tick,
        )
        began = self._clock()
        count = trying.run(choice.points, self._over(RUNS))
        runs = sum(len(measured.runs) for measured in choice.points)
        self._run_seconds = (self._clock() - began) / runs
        if count < len(answers):
            self._remarks.append(f"the time allowed for {count} prompts with every strategy")
        return choice.points + trying.refine(choice.points, self._over(REFINED))

    def _prove(self, measured: list[Measured], answers: list[Answer]) -> Proof:
        wishes, held_out = self._wishes, self._prompts.held_out
        level = 1 - wishes.keep
        if level <= 0 or all(m.exact for m in measured):
            return Proof({}, 0, 0)
        self._progress.stage("proof on held-out prompts")
        longest = [m for m in measured if len(m.runs) == len(measured[0].runs)]
        per_run = max(
            self._run_seconds,
            sum(m.ms_per_token * _tokens(m) for m in longest) / 1000 / len(longest),
        )
        left = wishes.seconds - (self._clock() - self._began)
        left = max(PROOF * wishes.seconds, left) - CLOCKED * per_run
        useful = 1.0
        if wishes.metric == "answer":
            useful = sum(bool(answer.right) for answer in answers) / len(answers)
        known = self._measurements.kept("proof", plan_from)
        if known is None:
            most = int(useful * left / max(1e-6, (1 + TESTED) * per_run))
            expected = families_to_test(
                measured, level, wishes.confidence, min(most, int(useful * len(held_out)))
            )
            families = {name: [m for m, _ in family] for name, family in expected.items()}
            points = list(chain.from_iterable(families.values()))
            count = prompts_to_ask(
                list(chain.from_iterable(expected.values())),
                level,
                1 - (1 - wishes.confidence) / PROVED_FAMILIES,
                held_out=len(held_out),
                affordable=int(left / max(1e-6, (1 + useful * len(points)) * per_run)),
                useful=useful,
            )
            # fixed now, so that no result decides what is tested or when to stop
            self._measurements.keep("proof", [count, [m.point.data() for m in points]])
        else:
            count, wanted = known
            points = [m for point in wanted for m in measured if m.point == point and not m.exact]
            families = {
                name: [m for m in points if m.point.strategy == name]
                for name in dict.fromkeys(m.point.strategy for m in points)
            }
        proof = run_proof(
            self._measurements,
            families,
            min((m for m in longest if m.exact), key=lambda m: m.ms_per_token),
            held_out[:count],
            metric=wishes.metric,
            level=level,
            confidence=wishes.confidence,
            overtime=self._over(OVERTIME * max(PROOF, left / wishes.seconds)),
            tick=self._progress.tick,
        )
        if proof.asked < len(held_out):
            self._remarks.append(f"{proof.asked} of {len(held_out)} held-out prompts were asked")
        return proof


def _curves(tables: dict[Role, CostTable], signals: Signals) -> Curves:
    """What a strategy is told of forward times, at the context of a typical forward."""
    small = tables.get("small")
    return Curves(
        tables["large"].curve(signals.context),
        None if small is None else small.curve(signals.context),
    )


def _tokens(measured: Measured) -> float:
    """Decoded tokens of a run, in the mean."""
    return sum(run.decoded for run in measured.runs) / max(1, len(measured.runs))
