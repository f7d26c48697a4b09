"""The stages of a calibration, from forward times to the proof, and how they share the time.

Each item is in the journal as soon as it is measured.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any

from adec.calibration.costs.cost_measuring import measure_costs
from adec.calibration.costs.cost_tables import CostTable, TableData, data_of, tables_from
from adec.calibration.helpers import Helpers
from adec.calibration.journal import Journal, Measurements
from adec.calibration.prompts import KnownPrompt, PromptSet
from adec.calibration.replay.agreement import (
    Agreement,
    agreement_of,
    set_break_even,
    threshold_percentiles,
)
from adec.calibration.replay.answers_to_fit import AnswersToFit
from adec.calibration.replay.choose import MOST_POINTS, Chooser, Kept, Shortlist
from adec.calibration.replay.pause_thresholds import Learned, learn_thresholds
from adec.calibration.replay.recording import Answer
from adec.calibration.replay.simulate import Replay, Simulator, forecast
from adec.calibration.result import Result
from adec.calibration.trials.held_out import Proof
from adec.calibration.trials.measured import Measured
from adec.calibration.trials.proof_stage import ProofStage
from adec.calibration.trials.trial import Point, Runner
from adec.calibration.trials.tryouts import Tryouts
from adec.calibration.wishes import Watcher, Wishes
from adec.decoding.pair.clock.cost_curve import Curves
from adec.decoding.registry import remaining
from adec.engines.exactness.invariance import measure_invariance
from adec.engines.exactness.kept_invariance import keep_invariance, kept_invariance
from adec.errors import UsageError
from adec.events.hostile_json import JsonReader
from adec.events.records import Role
from adec.machine import Machine

COSTS, ANSWERS, SIMULATION, TRYOUTS, REFINEMENT = 0.1, 0.15, 0.06, 0.25, 0.04
"""Shares of the time that the stages may take, each from its own beginning. What they leave goes to
the proof."""
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

COSTS_READER: JsonReader[TableData] = JsonReader(TableData)
_POINTS: JsonReader[Kept] = JsonReader(Kept)


class Calibration:
    """One calibration on loaded engines.

    A subclass replaces what its large model lacks or does otherwise: see `served/` and `canvas/`.
    """

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

    def _costs(self) -> dict[Role, CostTable]:
        self._progress.stage("forward times")
        known = self._journal.get("costs", COSTS_READER)
        if known is not None and "large" in known:
            return tables_from(known)
        seconds = min(COST_SECONDS, COSTS * self._wishes.seconds)
        tables = measure_costs(self._engines, seconds=seconds, tick=self._progress.tick)
        self._journal.put("costs", data_of(tables))
        return tables

    def _answers(self) -> tuple[list[Answer], list[Any], float]:
        """The large model's answers to the prompts to fit on, what is replayed of them, and the
        seconds that one took."""
        pair = "small" in self._engines
        self._progress.stage("answers of the large model" if pair else "answers")
        stage = AnswersToFit(
            self._measurements,
            self._prompts.fit,
            self._journal,
            self._helpers,
            self._clock,
            self._progress.tick,
        )
        found = stage.run(self._record, self._over(ANSWERS), helpers_record=self.helpers_record)
        count, wanted = len(found.answers), len(self._prompts.fit)
        if count < wanted:
            self._remarks.append(f"the time allowed for {count} of {wanted} answers to fit on")
        return found.answers, found.records, found.seconds

    def _record(self, index: int, prompt: KnownPrompt, answer: Answer) -> Any:
        """What is replayed of an answer."""
        return self._measurements.record(f"{index}", prompt, answer)

    def _costs_from(self, answers: Sequence[Answer]) -> dict[Role, CostTable]:
        """Tables that answers tell and forwards do not."""
        return {}

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

    def _agreement(self, records: Sequence[Any]) -> Agreement:
        return agreement_of(records, pair="small" in self._engines)

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

    def _exact_variants(self) -> Mapping[str, Sequence[Point]] | None:
        """The variants of exact methods to choose from; None: those of `grids`."""
        return None

    def _serves(self, point: Point) -> bool:
        """Whether these models can run a method with these settings."""
        return True

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
        if wishes.keep >= 1 or all(m.exact for m in measured):
            return Proof({}, 0, 0)
        self._progress.stage("proof on held-out prompts")
        stage = ProofStage(
            self._measurements,
            held_out,
            wishes,
            self._journal,
            self._helpers,
            self._progress.tick,
        )
        proof = stage.run(
            measured,
            answers,
            run_seconds=run_seconds,
            left=wishes.seconds - (self._clock() - self._began),
            over=self._over,
            most=self._most_held_out(measured),
            curves=self._runner.plan.curves,
        )
        if proof.asked < len(held_out):
            self._remarks.append(f"{proof.asked} of {len(held_out)} held-out prompts were asked")
        return proof

    def _most_held_out(self, measured: Sequence[Measured]) -> int:
        """Prompts that the proof may ask."""
        return len(self._prompts.held_out)


def _curves(tables: dict[Role, CostTable], agreement: Agreement) -> Curves:
    """The forward times that strategies are given: those at the context of a typical forward."""
    small = tables.get("small")
    return Curves(
        tables["large"].curve(agreement.context),
        None if small is None else small.curve(agreement.context),
    )
