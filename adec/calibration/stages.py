"""The stages of a calibration, from forward times to the proof, and how they share the time.

Each item is in the journal as soon as it is measured.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any

from adec.calibration.cost_tables import CostTable, TableData, data_of, measure_costs, tables_from
from adec.calibration.helpers import Helpers
from adec.calibration.journal import Journal, Measurements
from adec.calibration.prompts import KnownPrompt, PromptSet
from adec.calibration.replay.agreement import (
    Agreement,
    agreement_of,
    set_break_even,
    threshold_percentiles,
)
from adec.calibration.replay.choose import MOST_POINTS, Chooser, Kept, Shortlist
from adec.calibration.replay.pause_thresholds import Learned, learn_thresholds
from adec.calibration.replay.recording import Answer
from adec.calibration.replay.simulate import Replay, Simulator, forecast
from adec.calibration.result import Result
from adec.calibration.trials.held_out import (
    CLOCKED,
    Proof,
    ProofPlan,
    plan_proof,
    planned_before,
    run_proof,
)
from adec.calibration.trials.measured import Measured
from adec.calibration.trials.trial import Point, Runner
from adec.calibration.trials.tryouts import LEAST_ANSWERS, Tryouts
from adec.calibration.wishes import Watcher, Wishes
from adec.decoding.pair.clock.cost_curve import Curves
from adec.decoding.registry import remaining
from adec.engines.exactness.invariance import measure_invariance
from adec.engines.exactness.kept_invariance import keep_invariance, kept_invariance
from adec.errors import UsageError
from adec.events.hostile_json import JsonReader
from adec.events.records import Role
from adec.machine import Machine

COSTS, ANSWERS, SIMULATION, TRYOUTS, REFINEMENT, PROOF = 0.1, 0.15, 0.06, 0.25, 0.04, 0.4
"""Shares of the time that the stages may take, each from its own beginning. What they leave goes to
the proof, which needs the most prompts."""
PAUSES = 0.04
"""Share of the time for the solutions that AdaDec's thresholds rest on, beside the others."""
EXACTNESS = 0.1
"""Share of the time for the measurement of which forwards are bit for bit."""
REACH = 1024
"""Tokens of the longest sequence that it measures."""
COST_SECONDS = 40.0
"""Longest time for costs: beyond that the medians no longer move."""
ENOUGH_PROMPTS = 20
"""Prompts that every point is run on; where the time is short, fewer points are run instead."""
OVERTIME = 1.2
"""The proof's time, as a multiple of its plan, after which it stops: the machine became slower."""

COSTS_READER: JsonReader[TableData] = JsonReader(TableData)
_POINTS: JsonReader[Kept] = JsonReader(Kept)
_PROOF: JsonReader[tuple[int, list[Point]]] = JsonReader(tuple[int, list[Point]])


class Calibration:
    """One calibration on loaded engines."""

    most_points: int = MOST_POINTS
    """Points that are run for real at most."""
    helpers_record = True
    """Whether workers record the answers that they give."""

    def __init__(
        self,
        runner: Runner,
        prompts: PromptSet,
        wishes: Wishes,
        machine: Machine,
        journal: Journal,
        progress: Watcher,
        clock: Callable[[], float] = perf_counter,
        helpers: Helpers | None = None,
    ) -> None:
        """`helpers` answer ahead what is not timed.

        Raises UsageError when a prompt does not fit into the context."""
        self._runner = runner
        self._engines = runner.engines
        self._measurements = Measurements(runner, journal, wishes.metric)
        self._prompts = prompts
        self._wishes = wishes
        self._machine = machine
        self._journal = journal
        self._progress = progress
        self._clock = clock
        self._helpers = helpers
        self._began = clock()
        self._remarks = list(prompts.remarks)
        self._check_prompts()

    def run(self) -> Result:
        """Measure everything.

        Raises EngineError, and KeyboardInterrupt after Ctrl-C, with all that was measured in the
        journal.
        """
        tables = self._costs()
        answers, records, run_seconds = self._answers()
        tables |= self._costs_from(answers)
        self._measure_exactness(answers[0])
        agreement = self._agreement(records)
        curves = _curves(tables, agreement)
        self._take_curves(curves)
        thresholds = self._pauses()
        prompts = [self._runner.encode(prompt) for prompt in self._prompts.fit[: len(records)]]
        simulator = self._replay(tables, curves, prompts, records)
        shortlist = self._choose(simulator, run_seconds)
        measured, run_seconds = self._try(shortlist, answers)
        self._progress.stage("forecasts")
        forecast(measured, simulator, self._progress.tick)
        set_break_even(agreement, curves, measured)
        proof = self._prove(measured, answers, run_seconds)
        result = Result(
            metric=self._wishes.metric,
            keep=self._wishes.keep,
            confidence=self._wishes.confidence,
            machine=self._machine,
            tables=tables,
            agreement=agreement,
            measured=measured,
            tests=proof.tests,
            held_out=proof.prompts,
            tried=shortlist.tried,
            thresholds=thresholds,
            remarks=self._remarks,
            seconds=self._clock() - self._began,
        )
        if result.budget is not None:
            result.percentiles = threshold_percentiles(result.budget.point.point, records)
        return result

    def _check_prompts(self) -> None:
        context = self._engines.context
        for number, prompt in enumerate(self._prompts.all, 1):
            length = len(self._runner.encode(prompt))
            if length >= context:
                start = " ".join(prompt.text.split())[:40]
                raise UsageError(
                    f"the prompt that begins {start!r} has {length:,} tokens, "
                    f"the context holds {context:,}",
                    hint="shorten it, or give a larger --ctx if the model allows it",
                )
            if number % 50 == 0:
                self._progress.tick(0.0)

    def _late(self, share: float) -> Callable[[], bool]:
        """Whether that share of the time has passed since now.

        A stage that was held up takes nothing from the next.
        """
        until = self._clock() + share * self._wishes.seconds
        return lambda: self._clock() > until

    def _over(self, share: float) -> Callable[[], bool]:
        """Whether a stage has used up its share of what it may use, which is time."""
        return self._late(share)

    def _exact_variants(self) -> Mapping[str, Sequence[Point]] | None:
        """The variants of exact methods to choose from; None: those of `grids`."""
        return None

    def _serves(self, point: Point) -> bool:
        """Whether these models can run a method with these settings."""
        return True

    def _costs(self) -> dict[Role, CostTable]:
        self._progress.stage("forward times")
        known = self._journal.get("costs", COSTS_READER)
        if known is not None and "large" in known:
            return tables_from(known)
        seconds = min(COST_SECONDS, COSTS * self._wishes.seconds)
        tables = measure_costs(self._engines, seconds=seconds, tick=self._progress.tick)
        self._journal.put("costs", data_of(tables))
        return tables

    def _costs_from(self, answers: Sequence[Answer]) -> dict[Role, CostTable]:
        """Tables that answers tell and forwards do not."""
        return {}

    def _take_curves(self, curves: Curves) -> None:
        """Hand strategies the forward times, as a profile will."""
        self._runner.plan = dataclasses.replace(self._runner.plan, curves=curves)

    def _pauses(self) -> dict[Role, Learned]:
        """AdaDec's thresholds."""
        self._progress.stage("thresholds of adadec")
        thresholds, remarks = learn_thresholds(
            self._engines,
            self._prompts.fit,
            self._runner.encode,
            self._journal,
            late=self._over(PAUSES),
            tick=self._progress.tick,
        )
        self._remarks += remarks
        return thresholds

    def _agreement(self, records: Sequence[Any]) -> Agreement:
        return agreement_of(records, pair="small" in self._engines)

    def _replay(
        self,
        tables: Mapping[Role, CostTable],
        curves: Curves,
        prompts: Sequence[Sequence[int]],
        records: Sequence[Any],
    ) -> Replay:
        """What runs points on the records."""
        return Simulator(
            self._engines, tables, curves, prompts, records, max_tokens=self._wishes.max_tokens
        )

    def _record(self, index: int, prompt: KnownPrompt, answer: Answer) -> Any:
        """What is replayed of an answer."""
        return self._measurements.record(f"{index}", prompt, answer)

    def _answers(self) -> tuple[list[Answer], list[Any], float]:
        """The large model's answers to the prompts to fit on, what is replayed of them, and the
        seconds that one took."""
        pair = "small" in self._engines
        self._progress.stage("answers of the large model" if pair else "answers")
        answers: list[Answer] = []
        records: list[Any] = []
        began, over = self._clock(), self._over(ANSWERS)
        helped = 0.0
        for index, prompt in enumerate(self._prompts.fit):
            self._progress.tick(index / len(self._prompts.fit))
            if index == LEAST_ANSWERS and self._helpers is not None:
                helped = self._clock()
                named = [(f"fit {i}", p) for i, p in enumerate(self._prompts.fit) if i >= index]
                self._helpers.answer(
                    named, recorded=self.helpers_record, over=over, tick=self._progress.tick
                )
                helped -= self._clock()
            known = f"answer fit {index}" in self._journal
            if index >= LEAST_ANSWERS and not known and over():
                self._remarks.append(
                    f"the time allowed for {index} of {len(self._prompts.fit)} answers to fit on"
                )
                break
            answers.append(self._measurements.answer(f"fit {index}", prompt))
            records.append(self._record(index, prompt, answers[-1]))
        # a resumed calibration reads most of them, and its clock says little
        own = [answer for answer in answers if not answer.worker]
        spent = self._clock() - began + helped
        seconds = max(spent / len(own), sum(a.ms for a in own) / 1000 / len(own))
        return answers, records, seconds

    def _measure_exactness(self, answer: Answer) -> None:
        """Keep how far rows depend on the forward that they are computed in, unless it is known."""
        large = self._engines["large"]
        if kept_invariance(large) is not None:
            return
        self._progress.stage("exactness")
        prompt = self._runner.encode(self._prompts.fit[0])
        found = measure_invariance(
            large, prompt, answer.tokens, reach=REACH, enough=self._over(EXACTNESS)
        )
        keep_invariance(large, found)

    def _choose(self, simulator: Replay, run_seconds: float) -> Shortlist:
        self._progress.stage("simulation")
        known = self._journal.get("points", _POINTS)
        if known is not None and (shortlist := Shortlist.from_kept(known)) is not None:
            return shortlist
        room = TRYOUTS * self._wishes.seconds
        chooser = Chooser(
            simulator,
            allow=lambda share: self._late(SIMULATION * share),
            tick=self._progress.tick,
            exact=self._exact_variants(),
            serves=self._serves,
        )
        shortlist = chooser.choose(
            remaining(self._runner.plan.models),
            Measured(self._runner.yardstick, True),
            keep=self._wishes.keep,
            metric=self._wishes.metric,
            most=min(self.most_points, int(room / max(1e-6, ENOUGH_PROMPTS * run_seconds))),
        )
        # times went into it: a resumed calibration goes on with the same points
        self._journal.put("points", shortlist.kept)
        return shortlist

    def _try(self, shortlist: Shortlist, answers: list[Answer]) -> tuple[list[Measured], float]:
        """All points that were run, and the seconds that a run took."""
        self._progress.stage("strategies for real")
        tryouts = Tryouts(
            self._measurements,
            self._prompts.fit,
            answers,
            1 - self._wishes.keep,
            self._progress.tick,
        )
        began = self._clock()
        count = tryouts.run(shortlist.points, self._over(TRYOUTS))
        runs = sum(len(measured.runs) for measured in shortlist.points)
        run_seconds = (self._clock() - began) / runs
        if count < len(answers):
            self._remarks.append(f"the time allowed for {count} prompts with every strategy")
        refined = tryouts.refine(shortlist.points, self._over(REFINEMENT))
        return shortlist.points + refined, run_seconds

    def _prove(self, measured: list[Measured], answers: list[Answer], run_seconds: float) -> Proof:
        wishes, held_out = self._wishes, self._prompts.held_out
        level = 1 - wishes.keep
        if level <= 0 or all(m.exact for m in measured):
            return Proof({}, 0, 0)
        self._progress.stage("proof on held-out prompts")
        longest = [m for m in measured if len(m.runs) == len(measured[0].runs)]
        clocked = min((m for m in longest if m.exact), key=lambda m: m.ms_per_token)
        # a resumed calibration reads its runs, and its clock says little
        run_seconds = max(run_seconds, sum(m.run_ms for m in longest) / 1000 / len(longest))
        left = wishes.seconds - (self._clock() - self._began)
        left = max(PROOF * wishes.seconds, left) - CLOCKED * run_seconds
        overtime = self._over(OVERTIME * max(PROOF, left / wishes.seconds))
        helpers = 1 if self._helpers is None else self._helpers.size
        plan = self._proof_plan(measured, answers, level, helpers * left, run_seconds)
        if self._helpers is not None:
            self._helpers.prove(
                self._measurements,
                [m.point for m in plan.points],
                list(enumerate(held_out))[CLOCKED : plan.prompts],
                metric=wishes.metric,
                curves=self._runner.plan.curves,
                over=overtime,
                tick=self._progress.tick,
            )
        proof = run_proof(
            self._measurements,
            plan,
            clocked,
            held_out,
            metric=wishes.metric,
            level=level,
            confidence=wishes.confidence,
            overtime=overtime,
            tick=self._progress.tick,
        )
        if proof.asked < len(held_out):
            self._remarks.append(f"{proof.asked} of {len(held_out)} held-out prompts were asked")
        return proof

    def _most_held_out(self, measured: Sequence[Measured]) -> int:
        """Prompts that the proof may ask."""
        return len(self._prompts.held_out)

    def _proof_plan(
        self,
        measured: Sequence[Measured],
        answers: Sequence[Answer],
        level: float,
        seconds: float,
        run_seconds: float,
    ) -> ProofPlan:
        known = self._journal.get("proof", _PROOF)
        if known is not None and (plan := planned_before(known, measured)) is not None:
            return plan
        useful = 1.0
        if self._wishes.metric == "answer":
            useful = sum(bool(answer.right) for answer in answers) / len(answers)
        plan = plan_proof(
            measured,
            level,
            self._wishes.confidence,
            held_out=self._most_held_out(measured),
            useful=useful,
            seconds=seconds,
            run_seconds=run_seconds,
        )
        # fixed now, so that no result decides what is tested or when to stop
        self._journal.put("proof", plan.data)
        return plan


def _curves(tables: dict[Role, CostTable], agreement: Agreement) -> Curves:
    """The forward times that strategies are given: those at the context of a typical forward."""
    small = tables.get("small")
    return Curves(
        tables["large"].curve(agreement.context),
        None if small is None else small.curve(agreement.context),
    )
