"""One point on one prompt for real: what it wrote, what that took, and what it lost.

A point is a strategy with its settings. It is built anew for each prompt, as `adec run` does, so
nothing that it learnt on one prompt helps it on the next. `Measured` adds up the runs of a point.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median, stdev
from typing import Any, Literal, Protocol, TypeVar

import msgspec

from adec.answering.plan import Plan
from adec.answering.prompt import encode_prompt
from adec.answering.session import Question, Session
from adec.calibration.cost_tables import OUTLIER
from adec.calibration.prompts import KnownPrompt
from adec.calibration.replay.recording import Answer, own_nats, score
from adec.decoding.registry import find_method
from adec.decoding.settings import build
from adec.engines.base import Engine
from adec.engines.pair import Engines
from adec.events.hostile_json import Count
from adec.events.records import End, Step

Metric = Literal["agreement", "answer", "perplexity"]

MEANING: Mapping[Metric, str] = {
    "agreement": "mean share of an answer's positions that hold the large model's own token",
    "answer": "share of the prompts that the large model answers right and that are still "
    "answered right",
    "perplexity": "mean of the large model's perplexity of its own answer, over that of what was "
    "written (at most 1)",
}
OUTLIERS_FROM = 8
"""Fewest runs among which outliers are looked for."""


class Point(msgspec.Struct, frozen=True, array_like=True):
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

    @property
    def is_yardstick(self) -> bool:
        """Whether every other point on its models is measured against it."""
        return not self.settings and find_method(self.strategy).yardstick

    def build_settings(self) -> Any:
        """The settings of the method. Raises UsageError when there is no such method or setting."""
        method = find_method(self.strategy)
        return build(method.settings, method.name, ("calibrate", self.table()))


PLAIN = Point("plain")


class Bought(msgspec.Struct, frozen=True, array_like=True):
    """What an answer was charged for by a server."""

    requests: Count = 0
    read: Count = 0
    written: Count = 0
    """Tokens; those that were perhaps written behind a request that was ended are among them."""

    @property
    def tokens(self) -> int:
        return self.read + self.written


@dataclass(frozen=True)
class Trial:
    """One answer of a point."""

    tokens: tuple[Count, ...]
    text: str
    ms: float
    """Decoding time, without the prompt and the first token, which the prompt's forward gives. Of a
    server it is all that the answer took: another strategy may ask first where plain has begun."""
    own_ms: float
    large_tokens: Count
    large_fed: Count
    large_forwards: Count
    right: bool | None = None
    worker: str = ""
    """Who ran it, where that was not this process: its times are none of this machine."""
    first_ms: float = 0.0
    """What the prompt took, where `ms` holds it."""
    bought: Bought | None = None
    """What it cost, where the large model is behind a server."""

    @property
    def decoded(self) -> int:
        """Tokens that `ms` was spent on."""
        return max(0, len(self.tokens) - 1)


class Runner:
    """Runs points on loaded engines."""

    def __init__(
        self,
        plan: Plan,
        engines: Engines,
        *,
        max_tokens: int,
        interrupted: Callable[[], bool] = lambda: False,
    ) -> None:
        """`plan`: runs the yardstick of its models."""
        self.plan = plan
        self.engines = engines
        self.yardstick = Point(plan.method.name)
        self._max_tokens = max_tokens
        self._interrupted = interrupted

    def encode(self, prompt: KnownPrompt) -> list[int]:
        """The prompt's ids. Raises UsageError."""
        return encode_prompt(self.engines["large"], prompt.text)[0]

    def run(self, point: Point, prompt: KnownPrompt) -> Trial:
        """Answer one prompt.

        Raises UsageError, EngineError, and KeyboardInterrupt when Ctrl-C cut the answer off.
        """
        method, settings = find_method(point.strategy), point.build_settings()
        plan = dataclasses.replace(self.plan, method=method, settings=settings, profile=None)
        question = Question(prompt.text, max_tokens=self._max_tokens, signals=False)
        tokens: list[int] = []
        text: list[str] = []
        summary: dict[str, Any] = {}
        session = Session(plan, self.engines, 0.0)
        for event in session.answer(question, interrupted=self._interrupted):
            if isinstance(event, Step):
                tokens += [token.id for token in event.tokens]
                text += [token.text for token in event.tokens]
            elif isinstance(event, End):
                summary = event.summary
        if summary["finish"] == "interrupted":
            raise KeyboardInterrupt
        bought = _bought(summary.get("bought"))
        parts = ["draft_ms", "verify_ms", "catch_up_ms", "write_ms", "rewind_ms", "own_ms"]
        if bought is not None:
            parts.append("prompt_ms")
        written = "".join(text)
        return Trial(
            tokens=tuple(tokens),
            text=written,
            ms=sum(summary[part] for part in parts),
            own_ms=summary["own_ms"],
            large_tokens=summary["large_tokens"],
            large_fed=summary["large_fed"],
            large_forwards=summary["large_forwards"],
            right=None if prompt.right is None else prompt.right(written),
            first_ms=0.0 if bought is None else summary["prompt_ms"],
            bought=bought,
        )


def _bought(summary: Mapping[str, Any] | None) -> Bought | None:
    if summary is None:
        return None
    written = summary["tokens_written"] + summary.get("tokens_unseen", 0)
    return Bought(summary["requests"], summary["tokens_read"], written)


def loss_of(
    metric: Metric, own: Answer, run: Trial, engine: Engine, prompt: Sequence[int]
) -> float | None:
    """By how much an answer is worse than the large model's own, 0 to 1.

    None where the metric says nothing of this prompt. Raises EngineError: for perplexity the large
    model reads both answers.
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


def disagreement(own: Sequence[int], other: Sequence[int]) -> float:
    """Share of positions at which two answers differ, over the longer one; a missing token differs.

    Strict: a word more or less moves all that follows, and all of that counts as different.
    """
    longer = max(len(own), len(other))
    same = sum(a == b for a, b in zip(own, other, strict=False))
    return 1 - same / longer if longer else 0.0


@dataclass
class Measured:
    """A point that was run, on prompts to fit on."""

    point: Point
    exact: bool
    forecast_ms: float | None = None
    """Milliseconds a token as the simulation predicts them (see `simulate.forecast`)."""
    left: float = 0.0
    """Share of the recorded answers whose path it leaves when it is simulated."""
    runs: list[Trial] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    unlike: int = 0
    """Answers that differ from the large model's own."""
    fresh: list[Trial] = field(default_factory=list)
    """Runs on held-out prompts."""

    @property
    def ms_per_token(self) -> float:
        """Without outliers, as all speeds here."""
        return ms_per_token(without_outliers(self.runs))

    @property
    def run_ms(self) -> float:
        """Decoding time of a run in milliseconds, in the mean."""
        decoded = sum(run.decoded for run in self.runs)
        return self.ms_per_token * decoded / max(1, len(self.runs))

    @property
    def tokens_per_second(self) -> float:
        return 1000 / self.ms_per_token if self.ms_per_token > 0 else 0.0

    @property
    def spread(self) -> float:
        """One standard error of the tokens per second."""
        return _speed_error(without_outliers(self.runs))

    @property
    def off(self) -> float | None:
        """The forecast speed over the measured one, less 1; None where either is missing."""
        if not self.forecast_ms or not self.runs or self.ms_per_token <= 0:
            return None
        return self.ms_per_token / self.forecast_ms - 1

    @property
    def fresh_tokens_per_second(self) -> float | None:
        """Speed on held-out prompts; None where it was not run there."""
        ms = ms_per_token(without_outliers(self.fresh))
        return 1000 / ms if ms > 0 else None

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
    def large_fed(self) -> float:
        """Tokens that the large model read while decoding, for each token written."""
        return sum(run.large_fed for run in self.runs) / max(1, self._tokens)

    @property
    def bought(self) -> tuple[float, float, float] | None:
        """Requests, tokens read and tokens written of an answer in the mean; None where nothing is
        bought."""
        bought = [run.bought for run in self.runs if run.bought is not None]
        if not bought:
            return None
        return (
            fmean(b.requests for b in bought),
            fmean(b.read for b in bought),
            fmean(b.written for b in bought),
        )

    @property
    def _tokens(self) -> int:
        return sum(len(run.tokens) for run in self.runs)


def ms_per_token(runs: Sequence[Trial]) -> float:
    """Milliseconds of decoding for a token, over all runs."""
    return sum(run.ms for run in runs) / max(1, sum(run.decoded for run in runs))


def own_ms_per_round(runs: Sequence[Trial]) -> float:
    """The strategy's own time for a forward of the large model, in milliseconds."""
    return sum(r.own_ms for r in runs) / max(1, sum(r.large_forwards for r in runs))


def without_outliers(runs: list[Trial]) -> list[Trial]:
    """The runs but those whose time per token is far from the median (hyperfine's rule)."""
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


class Tradeoff(Protocol):
    """Something with a speed and a quality."""

    @property
    def ms_per_token(self) -> float: ...

    @property
    def quality(self) -> float: ...


T = TypeVar("T", bound=Tradeoff)


def front(points: Iterable[T]) -> list[T]:
    """The points that no other one beats in both speed and quality, fastest first."""
    best: list[T] = []
    for point in sorted(points, key=lambda p: (p.ms_per_token, -p.quality)):
        if not best or point.quality > best[-1].quality:
            best.append(point)
    return best


def _speed_error(runs: Sequence[Trial]) -> float:
    """One standard error of tokens per second."""
    ratio = ms_per_token(runs)
    if ratio <= 0:
        return 0.0
    error = _ratio_error([r.ms - ratio * r.decoded for r in runs], sum(r.decoded for r in runs))
    return 1000 / ratio * error / ratio


def _ratio_error(rests: Sequence[float], total: int) -> float:
    """One standard error of a ratio of sums over prompts, by linearisation."""
    if len(rests) < 2 or not total:
        return 0.0
    return stdev(rests) * math.sqrt(len(rests)) / total


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value).lower()
