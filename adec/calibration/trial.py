"""Strategies for real: one prompt, one strategy with its settings, what it wrote and what that took.

A strategy is built anew for each prompt, as `adec run` does, so nothing that it learnt on one prompt helps it on the next.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median, stdev
from typing import Any, Literal, Protocol, TypeVar

from adec.answering.plan import Plan
from adec.answering.prompt import encode_prompt
from adec.answering.session import Question, Session
from adec.calibration.forward_times import OUTLIER
from adec.calibration.prompts import Prompt
from adec.calibration.recording import Answer, own_nats, score
from adec.decoding import settings as setting_values
from adec.decoding.meter import Meter
from adec.decoding.registry import find_method
from adec.engines.base import Engine
from adec.engines.pair import Engines
from adec.events.records import End, Step

Metric = Literal["agreement", "answer", "perplexity"]
MEANING: Mapping[str, str] = {
    "agreement": "mean share of an answer's positions that hold the large model's own token",
    "answer": "share of the prompts that the large model answers right and that are still answered right",
    "perplexity": "mean of the large model's perplexity of its own answer, over that of what was written (at most 1)",
}
OUTLIERS_FROM = 8
"""Runs from which outliers can be told."""


@dataclass(frozen=True)
class Point:
    """A strategy and the settings that are not its defaults."""

    strategy: str
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def label(self) -> str:
        """As a person would type it, without `--set`."""
        words = [f"{name}={_short(value)}" for name, value in self.settings]
        return " ".join([self.strategy, *words])

    def table(self) -> dict[str, Any]:
        """The settings as a profile holds them."""
        return dict(self.settings)

    def data(self) -> list[Any]:
        """Plain data, for the journal."""
        return [self.strategy, [list(pair) for pair in self.settings]]


@dataclass(frozen=True)
class Run:
    """One answer of a strategy."""

    tokens: tuple[int, ...]
    text: str
    ms: float
    """Decoding time; the prompt and the first token, which it gives, are apart."""
    own_ms: float
    large_tokens: int
    large_fed: int
    large_forwards: int
    right: bool | None = None

    @property
    def decoded(self) -> int:
        """Tokens that `ms` was spent on."""
        return max(0, len(self.tokens) - 1)


class Interrupted(Exception):
    """Ctrl-C was heard in the middle of an answer, which is therefore incomplete."""


class Runner:
    """Runs points on loaded engines."""

    def __init__(
        self,
        plan: Plan,
        engines: Engines,
        *,
        max_tokens: int,
        interrupted: Callable[[], bool] = lambda: False,
        meter: Callable[[], Meter] = Meter,
    ) -> None:
        """`meter`: makes what times the forwards."""
        self.plan = plan
        self.engines = engines
        self._max_tokens = max_tokens
        self._interrupted = interrupted
        self._meter = meter

    def encode(self, prompt: Prompt) -> list[int]:
        """The prompt's ids. Raises UsageError."""
        return encode_prompt(self.engines["large"], prompt.text)[0]

    def run(self, point: Point, prompt: Prompt) -> Run:
        """Answer one prompt. Raises Interrupted, UsageError or EngineError."""
        method = find_method(point.strategy)
        settings = setting_values.build(method.settings, method.name, ("calibrate", point.table()))
        plan = dataclasses.replace(self.plan, method=method, settings=settings, profile=None)
        question = Question(prompt.text, max_tokens=self._max_tokens, signals=False)
        tokens: list[int] = []
        text: list[str] = []
        summary: dict[str, Any] = {}
        session = Session(plan, self.engines, 0.0, meter=self._meter)
        for event in session.answer(question, interrupted=self._interrupted):
            if isinstance(event, Step):
                tokens += [token.id for token in event.tokens]
                text += [token.text for token in event.tokens]
            elif isinstance(event, End):
                summary = event.summary
        if summary["finish"] == "interrupted":
            raise Interrupted
        parts = ("draft_ms", "verify_ms", "catch_up_ms", "write_ms", "rewind_ms", "own_ms")
        written = "".join(text)
        return Run(
            tokens=tuple(tokens),
            text=written,
            ms=sum(summary[part] for part in parts),
            own_ms=summary["own_ms"],
            large_tokens=summary["large_tokens"],
            large_fed=summary["large_fed"],
            large_forwards=summary["large_forwards"],
            right=None if prompt.right is None else prompt.right(written),
        )


def run_from(data: Mapping[str, Any]) -> Run:
    """A run from plain data. Raises ValueError, TypeError or KeyError when it is none."""
    right = data["right"]
    if not (right is None or isinstance(right, bool)):
        raise ValueError("right is neither true, false nor unknown")
    return Run(
        tokens=tuple(int(token) for token in data["tokens"]),
        text=str(data["text"]),
        ms=float(data["ms"]),
        own_ms=float(data["own_ms"]),
        large_tokens=int(data["large_tokens"]),
        large_fed=int(data["large_fed"]),
        large_forwards=int(data["large_forwards"]),
        right=right,
    )


def point_from(data: Any) -> Point:
    """A point from plain data. Raises ValueError, TypeError or UsageError when it is none."""
    name, settings = data
    point = Point(str(name), tuple((str(key), value) for key, value in settings))
    method = find_method(point.strategy)
    setting_values.build(method.settings, method.name, ("journal", point.table()))
    return point


def own_ms_per_round(runs: Sequence[Run]) -> float:
    """The strategy's own time for a forward of the large model, milliseconds."""
    return sum(r.own_ms for r in runs) / max(1, sum(r.large_forwards for r in runs))


def loss_of(
    metric: Metric, own: Answer, run: Run, engine: Engine, prompt: list[int]
) -> float | None:
    """What an answer falls short of the large model's own, 0 to 1; None where the metric says nothing of this prompt.

    Raises EngineError (perplexity asks the large model).
    """
    if metric == "agreement":
        return disagreement(own.tokens, run.tokens)
    if metric == "answer":
        # a prompt that the large model itself gets wrong cannot be lost
        return None if not own.right else float(not run.right)
    if run.tokens == own.tokens or not own.tokens or not run.tokens:
        return float(run.tokens != own.tokens)
    nats = own_nats(score(engine, prompt, run.tokens), run.tokens)
    best = own_nats(score(engine, prompt, own.tokens), own.tokens)
    return 1 - min(1.0, math.exp(best - nats))


def disagreement(own: tuple[int, ...], other: tuple[int, ...]) -> float:
    """Share of positions at which two answers differ, over the longer one: a token that is missing differs.

    Strict: a word more or less moves all that follows, and all of that counts as different.
    """
    longer = max(len(own), len(other))
    same = sum(a == b for a, b in zip(own, other, strict=False))
    return 1 - same / longer if longer else 0.0


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value).lower()


@dataclass
class Measured:
    """A point that was really run, on prompts to fit on."""

    point: Point
    exact: bool
    forecast_ms: float | None = None
    """Milliseconds a token that were to be expected (see `forecast`)."""
    left: float = 0.0
    """Share of the recorded answers whose path it leaves by replay."""
    runs: list[Run] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    unlike: int = 0
    """Answers that differ from the large model's own."""
    fresh: list[Run] = field(default_factory=list)
    """Runs on held-out prompts."""

    @property
    def clean(self) -> list[Run]:
        """The runs without outliers."""
        return without_outliers(self.runs)

    @property
    def ms_per_token(self) -> float:
        return _ms_per_token(self.clean)

    @property
    def tokens_per_second(self) -> float:
        return 1000 / self.ms_per_token if self.ms_per_token > 0 else 0.0

    @property
    def spread(self) -> float:
        """One standard error of the tokens per second."""
        return _speed_error(self.clean)

    @property
    def off(self) -> float | None:
        """The forecast speed over the measured one, less 1; None where either is missing."""
        if not self.forecast_ms or not self.runs or self.ms_per_token <= 0:
            return None
        return self.ms_per_token / self.forecast_ms - 1

    @property
    def fresh_tokens_per_second(self) -> float | None:
        """Speed on held-out prompts; None where it was not run there."""
        runs = without_outliers(self.fresh)
        return 1000 / ms if (ms := _ms_per_token(runs)) > 0 else None

    @property
    def fresh_spread(self) -> float:
        """One standard error of that."""
        return _speed_error(without_outliers(self.fresh))

    @property
    def quality(self) -> float:
        """Mean of the metric, 0 to 1."""
        return 1 - fmean(self.losses) if self.losses else 1.0

    @property
    def quality_spread(self) -> float:
        """One standard error of the quality."""
        count = len(self.losses)
        return stdev(self.losses) / math.sqrt(count) if count > 1 else 0.0

    @property
    def large_share(self) -> float:
        """Share of the tokens that the large model wrote."""
        return sum(run.large_tokens for run in self.runs) / max(1, self._tokens)

    @property
    def large_share_spread(self) -> float:
        """One standard error of that share."""
        share = self.large_share
        return _ratio_error(
            [r.large_tokens - share * len(r.tokens) for r in self.runs], self._tokens
        )

    @property
    def _tokens(self) -> int:
        return sum(len(run.tokens) for run in self.runs)

    @property
    def large_fed(self) -> float:
        """Tokens that the large model read while decoding, for each token written."""
        return sum(run.large_fed for run in self.runs) / max(1, self._tokens)


def _ms_per_token(runs: Sequence[Run]) -> float:
    return sum(run.ms for run in runs) / max(1, sum(run.decoded for run in runs))


def _speed_error(runs: Sequence[Run]) -> float:
    """One standard error of tokens per second."""
    ratio = _ms_per_token(runs)
    if ratio <= 0:
        return 0.0
    error = _ratio_error([r.ms - ratio * r.decoded for r in runs], sum(r.decoded for r in runs))
    return 1000 / ratio * error / ratio


def _ratio_error(rests: Sequence[float], total: int) -> float:
    """One standard error of a ratio of sums over prompts, by linearisation."""
    if len(rests) < 2 or not total:
        return 0.0
    return stdev(rests) * math.sqrt(len(rests)) / total


def without_outliers(runs: list[Run]) -> list[Run]:
    """The runs but those whose time per token is far from the others' median (hyperfine's rule)."""
    speeds = [run.ms / max(1, run.decoded) for run in runs]
    if len(speeds) < OUTLIERS_FROM:
        return runs
    middle = median(speeds)
    sigma = 1.4826 * median(abs(speed - middle) for speed in speeds)
    return [
        run
        for run, speed in zip(runs, speeds, strict=True)
        if abs(speed - middle) <= OUTLIER * sigma
    ] or runs


class OnFront(Protocol):
    """What a front is made of."""

    @property
    def ms_per_token(self) -> float: ...

    @property
    def quality(self) -> float: ...


T = TypeVar("T", bound=OnFront)


def front(points: Iterable[T]) -> list[T]:
    """The points that no other one beats in both time and quality, fastest first."""
    best: list[T] = []
    for point in sorted(points, key=lambda p: (p.ms_per_token, -p.quality)):
        if not best or point.quality > best[-1].quality:
            best.append(point)
    return best
