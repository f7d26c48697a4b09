"""The proof's stage: what is fixed before it begins, what workers answer ahead, and the proof.

`held_out.py` says which points are tested on how many prompts, `proof.py` what the losses prove.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from adec.calibration.helpers import Helpers
from adec.calibration.journal import Journal, Measurements
from adec.calibration.prompts import KnownPrompt
from adec.calibration.replay.recording import Answer
from adec.calibration.trials.held_out import (
    CLOCKED,
    Proof,
    ProofPlan,
    plan_proof,
    planned_before,
    run_proof,
)
from adec.calibration.trials.measured import Measured
from adec.calibration.trials.trial import Point
from adec.calibration.wishes import Wishes
from adec.decoding.pair.clock.cost_curve import Curves
from adec.events.hostile_json import JsonReader

PROOF = 0.4
"""Share of the time that the proof has at least: it needs the most prompts."""
OVERTIME = 1.2
"""The proof's time, as a multiple of its plan, after which it stops: the machine became slower."""

_PLANNED: JsonReader[tuple[int, list[Point]]] = JsonReader(tuple[int, list[Point]])


class ProofStage:
    """The stage on held-out prompts; `helpers` answer ahead what is not timed."""

    def __init__(
        self,
        measurements: Measurements,
        held_out: Sequence[KnownPrompt],
        wishes: Wishes,
        journal: Journal,
        helpers: Helpers | None,
        tick: Callable[[float], None],
    ) -> None:
        self._measurements = measurements
        self._held_out = held_out
        self._wishes = wishes
        self._journal = journal
        self._helpers = helpers
        self._tick = tick
        self._level = 1 - wishes.keep

    def run(
        self,
        measured: Sequence[Measured],
        answers: Sequence[Answer],
        *,
        run_seconds: float,
        left: float,
        over: Callable[[float], Callable[[], bool]],
        most: int,
        curves: Curves | None,
    ) -> Proof:
        """Plan the proof and do it.

        `run_seconds`: what a run of a point took. `left`: seconds that other stages left. `over`:
        gives, from a share of the time, whether it is used up. `most`: prompts that may be asked.
        """
        wishes = self._wishes
        longest = [m for m in measured if len(m.runs) == len(measured[0].runs)]
        clocked = min((m for m in longest if m.exact), key=lambda m: m.ms_per_token)
        # a resumed calibration reads its runs, and its clock says little
        run_seconds = max(run_seconds, sum(m.run_ms for m in longest) / 1000 / len(longest))
        seconds = max(PROOF * wishes.seconds, left) - CLOCKED * run_seconds
        overtime = over(OVERTIME * max(PROOF, seconds / wishes.seconds))
        workers = 1 if self._helpers is None else self._helpers.size
        plan = self._plan(measured, answers, most, workers * seconds, run_seconds)
        if self._helpers is not None:
            self._helpers.prove(
                self._measurements,
                [m.point for m in plan.points],
                list(enumerate(self._held_out))[CLOCKED : plan.prompts],
                metric=wishes.metric,
                curves=curves,
                over=overtime,
                tick=self._tick,
            )
        return run_proof(
            self._measurements,
            plan,
            clocked,
            self._held_out,
            metric=wishes.metric,
            level=self._level,
            confidence=wishes.confidence,
            overtime=overtime,
            tick=self._tick,
        )

    def _plan(
        self,
        measured: Sequence[Measured],
        answers: Sequence[Answer],
        most: int,
        seconds: float,
        run_seconds: float,
    ) -> ProofPlan:
        known = self._journal.get("proof", _PLANNED)
        if known is not None and (plan := planned_before(known, measured)) is not None:
            return plan
        useful = 1.0
        if self._wishes.metric == "answer":
            useful = sum(bool(answer.right) for answer in answers) / len(answers)
        plan = plan_proof(
            measured,
            self._level,
            self._wishes.confidence,
            held_out=most,
            useful=useful,
            seconds=seconds,
            run_seconds=run_seconds,
        )
        # fixed now, so that no result decides what is tested or when to stop
        self._journal.put("proof", plan.data)
        return plan
