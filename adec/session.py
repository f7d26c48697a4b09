"""One pair (or one model) made ready, and answers from it as events: what every command that generates has in common."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from adec import __version__
from adec.decoding import settings as setting_values
from adec.decoding.registry import Method, check_method, find_method
from adec.decoding.strategy import Limits
from adec.engines.base import Engine, ModelHeader, OpenOptions
from adec.engines.opening import locate, open_engines, read_header
from adec.engines.pair import Engines, check_pair
from adec.errors import PairError, UsageError
from adec.events import End, Event, Start, Step
from adec.profile import Profile, find_profile
from adec.prompting import encode_prompt
from adec.sampling import Sampler
from adec.summary import Finish, Tally
from adec.text import TextStream

DEFAULT_PAIR = "practice"


@dataclass(frozen=True)
class Choice:
    """Which models and which strategy, as a person names them. Nothing named means the built-in pair."""

    pair: str | None = None
    small: str | None = None
    large: str | None = None
    model: str | None = None
    strategy: str | None = None
    assignments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Question:
    """What shall be answered, and within which limits."""

    text: str
    system: str | None = None
    raw: bool = False
    max_tokens: int = 256
    sampler: Sampler = field(default_factory=Sampler)
    stop: tuple[str, ...] = ()
    signals: bool = True
    """Whether the events must carry entropies, margins and probabilities."""


@dataclass(frozen=True)
class Plan:
    """A choice, resolved and found possible, with no weights loaded yet."""

    large: ModelHeader
    small: ModelHeader | None
    method: Method
    settings: Any
    profile: Profile | None
    remarks: tuple[str, ...]
    """Lines worth showing: what differs but does not hinder."""

    def with_strategy(self, name: str, assignments: tuple[str, ...] = ()) -> Plan:
        """The same models with another strategy; nothing is read again. Raises UsageError or PairError."""
        method = find_method(name)
        check_method(method, self.large, self.small)
        choice = Choice(strategy=name, assignments=assignments)
        settings = _settings(choice, method, self.profile)
        return dataclasses.replace(self, method=method, settings=settings)

    def open(self, options: OpenOptions) -> Session:
        """Load the weights. Raises EngineError."""
        began = perf_counter()
        engines = open_engines(self.large, self.small, options)
        return Session(self, engines, perf_counter() - began)


def plan(choice: Choice) -> Plan:
    """Find the models, read their headers, and check that the strategy can run on them.

    Raises UsageError, ProfileError, ModelFileError or PairError, each before any weights are loaded.
    """
    profile, small_name, large_name = _models(choice)
    large = read_header(locate(large_name))
    small = None if small_name is None else read_header(locate(small_name))
    if profile is not None:
        profile.check(large)
    method = find_method(_strategy_name(choice, profile, small))
    check_method(method, large, small)
    remarks: tuple[str, ...] = ()
    if small is not None:
        try:
            remarks = tuple(check_pair(small, large))
        except PairError as error:
            if method.pair or method.name == "plain":
                raise
            small, remarks = None, (f"going on without the small model: {error.message}",)
    return Plan(large, small, method, _settings(choice, method, profile), profile, remarks)


class Session:
    """Loaded engines and a strategy on them."""

    def __init__(self, plan: Plan, engines: Engines, load_seconds: float) -> None:
        self.plan = plan
        self.engines = engines
        self.load_seconds = load_seconds
        self._strategy = plan.method.build(engines, plan.settings)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def guarantee(self) -> str:
        """What the strategy, with its settings, promises: exact, bounded or approximate."""
        return self._strategy.guarantee.value

    def close(self) -> None:
        """Free the engines."""
        self.engines.close()

    def answer(
        self, question: Question, *, interrupted: Callable[[], bool] = lambda: False
    ) -> Iterator[Event]:
        """A start, steps with their texts, an end. `interrupted` is asked after each step.

        Raises UsageError when the prompt leaves no room in the context, EngineError when a backend fails.
        """
        began = perf_counter()
        tokenizing = self.engines.large
        prompt, rendered = encode_prompt(
            tokenizing, question.text, system=question.system, raw=question.raw
        )
        if len(prompt) >= self.engines.context:
            raise UsageError(
                f"the prompt has {len(prompt):,} tokens, the context holds {self.engines.context:,}",
                hint="shorten it, or give a larger --ctx if the model allows it",
            )
        strategy = self._strategy
        yield self._start(question, prompt, rendered)
        end = tokenizing.vocabulary.end
        limits = Limits(question.max_tokens, end, question.sampler, question.signals)
        tally = Tally(strategy.name, strategy.guarantee.value)
        stream = TextStream(tokenizing.vocabulary, question.stop)
        steps = strategy.generate(prompt, limits)
        stopped: Finish | None = None
        last = -1
        try:
            for raw in steps:
                for step in stream.add(raw):
                    last = _count(tally, step, began, last)
                    yield step
                if stream.stopped or interrupted():
                    stopped = "stop" if stream.stopped else "interrupted"
                    break
        finally:
            close = getattr(steps, "close", None)
            if close is not None:
                close()
        for step in stream.finish():
            last = _count(tally, step, began, last)
            yield step
        natural: Finish = (
            "end" if last in end else "length" if tally.tokens >= question.max_tokens else "context"
        )
        tally.finish = stopped or natural
        summary = tally.summary(perf_counter() - began)
        yield End({**summary, "load_seconds": self.load_seconds})

    def _start(self, question: Question, prompt: list[int], rendered: str) -> Start:
        models = {"large": describe_model(self.engines.large)}
        if self.engines.small is not None:
            models["small"] = describe_model(self.engines.small)
        profile = self.plan.profile
        return Start(
            adec=__version__,
            strategy=self._strategy.name,
            guarantee=self._strategy.guarantee.value,
            paper=self._strategy.paper,
            models=models,
            settings=dataclasses.asdict(self.plan.settings),
            sampling=dataclasses.asdict(question.sampler),
            prompt=rendered,
            prompt_tokens=len(prompt),
            max_tokens=question.max_tokens,
            profile=None if profile is None else profile.name,
        )


def describe_model(engine: Engine) -> dict[str, Any]:
    """A model as a trace names it: plain data."""
    info = engine.info
    return {
        "name": info.name,
        "path": str(info.path),
        "format": info.format,
        "parameters": info.parameters,
        "quantisation": info.quantisation,
        "vocabulary": engine.vocabulary.fingerprint,
    }


def _count(tally: Tally, step: Step, began: float, last: int) -> int:
    tally.add(step, perf_counter() - began)
    return step.tokens[-1].id if step.tokens else last


def _models(choice: Choice) -> tuple[Profile | None, str | None, str]:
    """(profile, small model, large model) as names."""
    given = [choice.pair is not None, bool(choice.small or choice.large), choice.model is not None]
    if sum(given) > 1:
        raise UsageError(
            "--pair, --small with --large, and --model exclude each other", hint="give one of them"
        )
    if choice.model is not None:
        return None, None, choice.model
    if choice.small or choice.large:
        if not (choice.small and choice.large):
            missing = "--large" if choice.small else "--small"
            raise UsageError(
                f"{missing} is missing: a pair is two models", hint="or give one model with --model"
            )
        return None, choice.small, choice.large
    profile = find_profile(choice.pair or DEFAULT_PAIR)
    if profile.large is None:
        raise UsageError(f"profile {profile.name} names no models", hint="give --small and --large")
    small = None if profile.small is None else profile.model_path(profile.small)
    return profile, small, profile.model_path(profile.large)


def _strategy_name(choice: Choice, profile: Profile | None, small: ModelHeader | None) -> str:
    if choice.strategy is not None:
        return choice.strategy
    if profile is not None and profile.recommended is not None:
        return profile.recommended
    return "plain" if small is None else "ead"


def _settings(choice: Choice, method: Method, profile: Profile | None) -> Any:
    assigned = setting_values.parse_assignments(choice.assignments)
    idle = [name for name in assigned if name != method.name]
    if idle:
        find_method(idle[0])
        raise UsageError(
            f"--set {idle[0]}.… has no effect: the strategy is {method.name}",
            hint=f"add --strategy {idle[0]}",
        )
    fitted: Mapping[str, Any] = {} if profile is None else profile.settings.get(method.name, {})
    origin = "" if profile is None else f"profile {profile.name}"
    return setting_values.build(
        method.settings, method.name, (origin, fitted), ("--set", assigned.get(method.name, {}))
    )
