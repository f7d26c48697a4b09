"""The stage in which the large model answers the prompts to fit on.

The first answers are run here and timed. Where there are workers, they answer the others ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from adec.calibration.helpers import Helpers
from adec.calibration.journal import Journal, Measurements
from adec.calibration.prompts import KnownPrompt
from adec.calibration.replay.recording import Answer

LEAST_ANSWERS = 4
"""Answers that are taken whatever the time: with fewer nothing can be fitted."""

Recorder = Callable[[int, KnownPrompt, Answer], Any]
"""Gives what is replayed of the answer to a prompt."""


@dataclass(frozen=True)
class Answered:
    """What the stage found."""

    answers: list[Answer]
    records: list[Any]
    """What is replayed of each answer."""
    seconds: float
    """That one answer took, with its record."""


class AnswersToFit:
    """The stage on the prompts to fit on; `helpers` answer ahead what is not timed."""

    def __init__(
        self,
        measurements: Measurements,
        prompts: Sequence[KnownPrompt],
        journal: Journal,
        helpers: Helpers | None,
        clock: Callable[[], float],
        tick: Callable[[float], None],
    ) -> None:
        self._measurements = measurements
        self._prompts = prompts
        self._journal = journal
        self._helpers = helpers
        self._clock = clock
        self._tick = tick

    def run(self, record: Recorder, over: Callable[[], bool], *, helpers_record: bool) -> Answered:
        """Ask until `over`. `helpers_record`: workers record the answers that they give."""
        answers: list[Answer] = []
        records: list[Any] = []
        began, helped = self._clock(), 0.0
        for index, prompt in enumerate(self._prompts):
            self._tick(index / len(self._prompts))
            if index == LEAST_ANSWERS and self._helpers is not None:
                helped = self._answer_ahead(self._helpers, index, over, helpers_record)
            known = f"answer fit {index}" in self._journal
            if index >= LEAST_ANSWERS and not known and over():
                break
            answers.append(self._measurements.answer(f"fit {index}", prompt))
            records.append(record(index, prompt, answers[-1]))
        own = [answer for answer in answers if not answer.worker]
        spent = self._clock() - began - helped
        # a resumed calibration reads most of them, and its clock says little
        seconds = max(spent / len(own), sum(a.ms for a in own) / 1000 / len(own))
        return Answered(answers, records, seconds)

    def _answer_ahead(
        self, helpers: Helpers, first: int, over: Callable[[], bool], recorded: bool
    ) -> float:
        """Have workers answer the prompts from `first` on; the seconds that it took."""
        began = self._clock()
        named = [(f"fit {i}", p) for i, p in enumerate(self._prompts) if i >= first]
        helpers.answer(named, recorded=recorded, over=over, tick=self._tick)
        return self._clock() - began
