"""Answers and runs that are measured once: what is in the journal is not measured again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

from adec.calibration.journal import Journal
from adec.calibration.prompts import Prompt
from adec.calibration.signals import Answer, Record, answer_from, record, record_from, to_data
from adec.calibration.trial import Interrupted, Metric, Point, Run, Runner, loss_of, run_from
from adec.errors import UsageError

T = TypeVar("T")

PLAIN = Point("plain")


class Measurements:
    """A runner with a memory on the disk. Every method raises KeyboardInterrupt after Ctrl-C, and EngineError."""

    def __init__(self, runner: Runner, journal: Journal, metric: Metric) -> None:
        self.runner = runner
        self.engines = runner.engines
        self._journal = journal
        self._metric = metric

    def answer(self, name: str, prompt: Prompt) -> Answer:
        """The large model's own answer."""
        kept = self.kept(f"answer {name}", answer_from)
        if kept is None:
            run = self._run(PLAIN, prompt)
            kept = Answer(run.tokens, run.text, run.ms, run.right)
            self.keep(f"answer {name}", to_data(kept))
        return kept

    def record(self, name: str, prompt: Prompt, answer: Answer) -> Record:
        """Both models' opinion of an answer."""
        kept = self.kept(f"record {name}", self._record_from)
        if kept is None:
            kept = record(self.engines, self.runner.encode(prompt), answer.tokens)
            self.keep(f"record {name}", to_data(kept))
        return kept

    def trial(self, point: Point, index: int, prompt: Prompt, *, stage: str = "run") -> Run:
        """A point on a prompt."""
        name = f"{stage} {index} {point.label}"
        kept = self.kept(name, run_from)
        if kept is None:
            kept = self._run(point, prompt)
            self.keep(name, dataclasses.asdict(kept))
        return kept

    def loss(self, own: Answer, run: Run, prompt: Prompt) -> float | None:
        """What the run falls short of the large model's own answer; None where the metric says nothing of the prompt."""
        engine = self.engines.large
        return loss_of(self._metric, own, run, engine, self.runner.encode(prompt))

    def keep(self, name: str, data: Any) -> None:
        """Put plain data into the journal."""
        self._journal.put(name, data)

    def kept(self, name: str, read: Callable[[Any], T]) -> T | None:
        """An item of the journal; None when there is none, or it cannot be read."""
        data = self._journal.get(name)
        if data is None:
            return None
        try:
            return read(data)
        except (ValueError, TypeError, KeyError, AttributeError, IndexError, UsageError):
            self._journal.forget(name)
            return None

    def _record_from(self, data: Any) -> Record:
        found = record_from(data)
        if max(found.large_ids.max(), found.small_ids.max()) >= len(self.engines.large.vocabulary):
            raise ValueError("a token that the vocabulary does not have")
        return found

    def _run(self, point: Point, prompt: Prompt) -> Run:
        try:
            return self.runner.run(point, prompt)
        except Interrupted:
            raise KeyboardInterrupt from None
