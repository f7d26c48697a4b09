"""A calibration on table engines: a pair, prompts of letters, and what the real command would hand
over."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

from adec.answering.plan import Plan
from adec.calibration.helpers import Helpers, OpenCalibration
from adec.calibration.journal import Journal
from adec.calibration.prompts import KnownPrompt, PromptSet
from adec.calibration.stages import Calibration
from adec.calibration.trials.measured import Measured
from adec.calibration.trials.trial import Point, Runner, Trial
from adec.calibration.wishes import Wishes
from adec.decoding.registry import yardstick
from adec.engines.base import ModelHeader
from adec.engines.pair import Engines
from adec.engines.table import TableEngine
from adec.machine import Machine
from adec.spreading.crew import Crew
from tests.laws import blend, law

MACHINE = Machine("Linux x86_64", "a table", 2, "0", "table")
SIZE = 6
COUNT = 80
"""Prompts of a `point`."""
COSTS = {
    "large": [[16, n, 10.0 + n, 0.1, 9, 0] for n in (1, 2, 4, 8, 16, 32, 64)],
    "small": [[16, n, 1.0 + n / 10, 0.01, 9, 0] for n in (1, 2, 4, 8, 16)],
}
"""A large model that costs ten times as much as the small one, and batches that pay."""


class Unseen:
    """A calibration that nobody watches; Ctrl-C is still heard."""

    def __init__(self, interrupted: Callable[[], bool]) -> None:
        self._interrupted = interrupted

    def stage(self, name: str) -> None:
        pass

    def tick(self, share: float) -> None:
        if self._interrupted():
            raise KeyboardInterrupt


def engines(seed: int, *, likeness: float = 0.8, context: int = 192) -> Engines:
    """Two table engines that agree in part; laws are remembered, so that many runs are quick."""
    target = lru_cache(None)(law(SIZE, seed, order=2, sharpness=6))
    draft = lru_cache(None)(blend(target, law(SIZE, seed + 1000, order=2), likeness))
    short = lambda known: lambda prefix: known(prefix[-2:])  # noqa: E731
    small = TableEngine(short(draft), size=SIZE, name="small", context=context)
    large = TableEngine(short(target), size=SIZE, name="large", context=context)
    return Engines(large=large, small=small)


def header(engine: TableEngine) -> ModelHeader:
    return ModelHeader(engine.info, engine.vocabulary, engine.capabilities)


def plan_of(pair: Engines) -> Plan:
    models = {role: header(engine) for role, engine in pair.items()}
    method = yardstick(models)
    return Plan(models, method, method.settings(), None, ())


def prompts(seed: int, count: int, *, fit: int, length: int = 6) -> PromptSet:
    rng = Random(seed)
    texts = ["".join(rng.choice("abcde") for _ in range(length)) for _ in range(count)]
    found = [
        KnownPrompt(text, lambda reply: reply.count("a") >= reply.count("b")) for text in texts
    ]
    return PromptSet(tuple(found[:fit]), tuple(found[fit:]), "letters")


def calibration(
    folder: Path,
    pair: Engines,
    asked: PromptSet,
    wishes: Wishes | None = None,
    *,
    interrupted=lambda: False,
    measure: bool = False,
    crew: Crew | None = None,
) -> Calibration:
    """`measure`: forward times too, which takes longest; else they are given.

    `crew`: workers of this process that answer ahead, on engines like these.
    """
    wishes = wishes or Wishes(keep=0.8, seconds=1e6, max_tokens=12)
    runner = Runner(plan_of(pair), pair, max_tokens=wishes.max_tokens, interrupted=interrupted)
    journal = Journal(folder / "journal.jsonl", "key")
    if not measure and "costs" not in journal:
        journal.put("costs", COSTS)
    helpers = None
    if crew is not None:
        session: Any = SimpleNamespace(plan=plan_of(pair), engines=pair, close=lambda: None)
        helpers = Helpers(
            crew, lambda: OpenCalibration(session, wishes.max_tokens), SIZE, journal, print
        )
    return Calibration(
        runner, asked, wishes, MACHINE, journal, Unseen(interrupted), helpers=helpers
    )


def point(
    name: str,
    ms: float,
    failures: int = 0,
    left: float = 0.0,
    *,
    exact: bool = False,
    n: int = COUNT,
) -> Measured:
    """A point with `failures` lost among n prompts, `ms` a token. Its knob is its place on the
    scale of time."""
    settings = () if exact else (("up", 1 / ms),)
    runs = [Trial((1,) * 11, "", 10 * ms, 0.0, 0, 0, 1)] * n
    losses = [1.0] * failures + [0.0] * (n - failures)
    return Measured(Point(name, settings), exact, runs=runs, losses=losses, left=left)
