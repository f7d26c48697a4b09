"""One point on one prompt for real: what it wrote, what that took, and what it lost.

A point is a strategy with its settings. It is built anew for each prompt, as `adec run` does, so
nothing that it learnt on one prompt helps it on the next. `measured.py` adds up what they took.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from adec.answering.plan import Plan
from adec.answering.prompt import encode_prompt
from adec.answering.session import Question, Session
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


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value).lower()
