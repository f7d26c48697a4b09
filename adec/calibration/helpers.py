"""Workers that answer prompts of a calibration ahead, where nobody looks at a clock.

Two stages ask models over many prompts: the answers and records to fit on, and the proof. What the
workers give goes into the journal under the names that these stages look for, so that they find it
measured. All that is timed is run here: the first prompts of both stages, the strategies side by
side, and settings that decide by time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import msgspec

from adec.answering.elsewhere import PlanThere
from adec.answering.session import Session, open_session
from adec.calibration.journal import Journal, Measurements
from adec.calibration.prompts import KnownPrompt
from adec.calibration.replay.grids import is_timed
from adec.calibration.replay.recording import Answer, Record, record
from adec.calibration.trials.trial import Metric, Point, Runner, Trial, loss_of
from adec.decoding.pair.clock.cost_curve import Curves
from adec.engines.base import OpenOptions
from adec.events.hostile_json import JsonReader
from adec.machine import usable_cores
from adec.spreading.crew import Crew, DeskOpener
from adec.spreading.dispatcher import Dispatcher, Tell

MOST_BYTES = 64 * 1024 * 1024
"""Longest message of a worker that is read."""


@dataclass(frozen=True)
class Asked:
    """One job: the large model's answer to a prompt, or some points on it."""

    name: str
    """As the journal has it: "fit 3", "held out 17"."""
    text: str
    recorded: bool = False
    """Whether both models shall read the answer."""
    points: tuple[Point, ...] = ()
    own: Answer | None = None
    """The large model's answer, where points are compared with it."""
    metric: Metric = "agreement"
    curves: Curves | None = None


@dataclass(frozen=True)
class Told:
    """What a worker answers; right answers are judged here."""

    answer: Answer | None = None
    record: Record | None = None
    trials: tuple[Trial, ...] = ()
    losses: tuple[float | None, ...] = ()
    """Of each trial, where the large model must read it for that (perplexity)."""


_TOLD: JsonReader[Told] = JsonReader(Told)


@dataclass(frozen=True)
class DeskOfCalibration:
    """What a worker needs; called there, it opens the models."""

    there: PlanThere
    options: OpenOptions
    max_tokens: int
    sharing: int = 1
    """Workers that share the cores of a machine."""

    def __call__(self) -> OpenCalibration:
        """As a `DeskOpener`. Raises AdecError."""
        options = self.options
        if self.sharing > 1 and options.threads is None:
            threads = max(1, usable_cores() // self.sharing)
            options = dataclasses.replace(options, threads=threads)
        return OpenCalibration(open_session(self.there.plan(), options), self.max_tokens)


class OpenCalibration:
    """The desk: loaded models that answer."""

    remarks: Sequence[str] = ()

    def __init__(self, session: Session, max_tokens: int) -> None:
        self.session = session
        self.runner = Runner(session.plan, session.engines, max_tokens=max_tokens)

    def do(self, job: Asked) -> bytes:
        """The answers. Raises AdecError."""
        runner, prompt = self.runner, KnownPrompt(job.text)
        if not job.points:
            run = runner.run(runner.yardstick, prompt)
            answer = Answer(run.tokens, run.text, run.ms)
            found = None
            if job.recorded:
                found = record(runner.engines, runner.encode(prompt), answer.tokens)
            return msgspec.json.encode(Told(answer, found))
        runner.plan = dataclasses.replace(runner.plan, curves=job.curves)
        trials = tuple(runner.run(point, prompt) for point in job.points)
        losses: list[float | None] = []
        if job.metric == "perplexity" and job.own is not None:
            large, ids = runner.engines["large"], runner.encode(prompt)
            losses = [loss_of(job.metric, job.own, run, large, ids) for run in trials]
        return msgspec.json.encode(Told(trials=trials, losses=tuple(losses)))

    def close(self) -> None:
        """Free the engines."""
        self.session.close()


class Helpers:
    """A crew that fills the journal of a calibration. Raises AdecError when no worker is left."""

    def __init__(
        self, crew: Crew, opener: DeskOpener, vocabulary: int, journal: Journal, tell: Tell
    ) -> None:
        self.size = max(1, crew.size)
        self._vocabulary = vocabulary
        self._journal = journal
        self._work: Dispatcher[Asked, tuple[str, Told]] = Dispatcher(crew, opener, self._read, tell)

    def close(self) -> None:
        """End the workers."""
        self._work.close()

    def answer(
        self,
        prompts: Sequence[tuple[str, KnownPrompt]],
        *,
        recorded: bool,
        over: Callable[[], bool],
        tick: Callable[[float], None],
    ) -> None:
        """The large model's answers to named prompts, and records of them, until `over`."""
        right = {name: prompt.right for name, prompt in prompts}
        jobs = (
            Asked(name, prompt.text, recorded)
            for name, prompt in prompts
            if f"answer {name}" not in self._journal
        )
        for job, told, worker in self._ask(jobs, len(prompts), over, tick):
            answer, judge = told.answer, right[job.name]
            assert answer is not None
            self._journal.put(
                f"answer {job.name}",
                dataclasses.replace(
                    answer, right=None if judge is None else judge(answer.text), worker=worker
                ),
            )
            if told.record is not None:
                self._journal.put(f"record {job.name.removeprefix('fit ')}", told.record)

    def prove(
        self,
        measurements: Measurements,
        points: Sequence[Point],
        prompts: Sequence[tuple[int, KnownPrompt]],
        *,
        metric: Metric,
        curves: Curves | None,
        over: Callable[[], bool],
        tick: Callable[[float], None],
    ) -> None:
        """Answers to held-out prompts, and then the points on those that count, until `over`."""
        named = [(f"held out {index}", prompt) for index, prompt in prompts]
        self.answer(named, recorded=False, over=over, tick=tick)
        right = {name: prompt.right for name, prompt in named}

        def jobs() -> Iterator[Asked]:
            for name, prompt in named:
                if f"answer {name}" not in self._journal:
                    continue
                own = measurements.answer(name, prompt)
                wanted = tuple(
                    point
                    for point in points
                    if not is_timed(point) and f"{name} {point.label}" not in self._journal
                )
                if wanted and not (metric == "answer" and not own.right):
                    yield Asked(name, prompt.text, False, wanted, own, metric, curves)

        for job, told, worker in self._ask(jobs(), len(prompts), over, tick):
            judge = right[job.name]
            for place, (point, run) in enumerate(zip(job.points, told.trials, strict=True)):
                judged = None if judge is None else judge(run.text)
                self._journal.put(
                    f"{job.name} {point.label}",
                    dataclasses.replace(run, right=judged, worker=worker),
                )
                if told.losses:
                    self._journal.put(f"loss {job.name} {point.label}", told.losses[place])

    def _ask(
        self,
        jobs: Iterator[Asked],
        count: int,
        over: Callable[[], bool],
        tick: Callable[[float], None],
    ) -> Iterator[tuple[Asked, Told, str]]:
        done = 0
        given: dict[str, Asked] = {}

        def noted() -> Iterator[Asked]:
            for job in jobs:
                given[job.name] = job
                yield job

        def stop() -> bool:
            tick(done / max(1, count))
            return over()

        with closing(self._work.ask(noted(), stop)) as results:
            for (name, told), worker in results:
                done += 1
                yield given.pop(name), told, worker.name or f"process {worker.number}"

    def _read(self, job: Asked, data: bytes) -> tuple[str, Told]:
        """Raises ValueError on what is no answer to the job."""
        if len(data) > MOST_BYTES:
            raise ValueError("it is too long")
        told = _TOLD.read(data)
        if (told.answer is None) != bool(job.points) or len(told.trials) != len(job.points):
            raise ValueError("it is no answer to what was asked")
        if job.recorded != (told.record is not None) or len(told.losses) not in (
            0, len(told.trials),
        ):  # fmt: skip
            raise ValueError("something is missing")
        tokens = [] if told.answer is None else [told.answer.tokens]
        tokens += [run.tokens for run in told.trials]
        if told.record is not None:
            if told.answer is None or told.record.tokens != told.answer.tokens:
                raise ValueError("the record is of another answer")
            tokens.append((told.record.highest_id,))
        if max((max(ids, default=0) for ids in tokens), default=0) >= self._vocabulary:
            raise ValueError("a token id is outside the vocabulary")
        return job.name, told
