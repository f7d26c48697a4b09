"""One pair (or one model) made ready, and answers from it as events: what every command that generates has in common."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from adec import __version__
from adec.automatic import choose_strategy, is_proved
from adec.decoding import settings as setting_values
from adec.decoding.pair.costs import Curves
from adec.decoding.pair.planner import Clocked
from adec.decoding.registry import Method, check_method, find_method
from adec.decoding.search.iad import Exchange, Iad, Verdict
from adec.decoding.strategy import Guarantee, Limits
from adec.engines.base import Engine, ModelHeader, OpenOptions
from adec.engines.opening import locate, open_engines, read_header
from adec.engines.pair import Engines, check_pair
from adec.errors import PairError, UsageError
from adec.events import End, Event, Start, Step
from adec.profile import Profile, find_profile, fitting_profile
from adec.prompting import encode_prompt
from adec.sampling import Sampler
from adec.summary import Finish, Tally
from adec.text import TextStream, text_of

DEFAULT_PAIR = "practice"


@dataclass(frozen=True)
class Choice:
    """Which models and which strategy, as a person names them. Nothing named means the built-in pair."""

    pair: str | None = None
    small: str | None = None
    large: str | None = None
    model: str | None = None
    strategy: str | None = None
    """None or "auto": as the profile recommends, or as an assignment names it."""
    assignments: tuple[str, ...] = ()
    keep: float | None = None
    """The least quality that an automatic choice must have proved; 1: exact."""


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
    verify: Callable[[str], Verdict] | None = None
    """What scores whole answers, for a strategy that compares them; None: the large model's log-probability."""
    budget: int | None = None
    """Tokens that such a strategy may be fed for its answers, on average; None: as its settings say."""


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
    hint: str | None = None
    """Advice for a person at a terminal."""
    curves: Curves | None = None
    """Forward times that a profile measured on this machine; None: a strategy measures what it needs."""
    bounded: bool = False
    """Whether the strategy runs with the very settings, and on the very models, for which a budget was proved."""
    threads: tuple[int, int] | None = None
    """For one token and for several, as a profile found them best on this machine."""

    def with_strategy(self, name: str, assignments: tuple[str, ...] = ()) -> Plan:
        """The same models with another strategy; nothing is read again. Raises UsageError or PairError."""
        method = find_method(name)
        check_method(method, self.large, self.small)
        choice = Choice(strategy=name, assignments=assignments)
        settings = _settings(choice, method, self.profile)
        # what a profile proved, it proved of the strategy and settings that it chose
        return dataclasses.replace(self, method=method, settings=settings, bounded=False)

    def open(self, options: OpenOptions) -> Session:
        """Load the weights. Raises EngineError."""
        began = perf_counter()
        if self.threads is not None and options.threads is None and options.batch_threads is None:
            single, several = self.threads
            options = dataclasses.replace(options, threads=single, batch_threads=several)
        engines = open_engines(self.large, self.small, options)
        return Session(self, engines, perf_counter() - began)


def plan(choice: Choice) -> Plan:
    """Find the models, read their headers, and check that the strategy can run on them.

    Raises UsageError, ProfileError, ModelFileError or PairError, each before any weights are loaded.
    """
    profile, small_name, large_name = _models(choice)
    large = read_header(locate(large_name))
    small = None if small_name is None else read_header(locate(small_name))
    if profile is None:
        profile = fitting_profile(large, small)
    else:
        profile.check(large)
    others = [] if profile is None else profile.other_models(large, small)
    chosen = choose_strategy(choice, None if others else profile, large, small)
    remarks = [] if chosen.remark is None else [chosen.remark]
    method = find_method(chosen.strategy)
    check_method(method, large, small)
    if small is not None:
        try:
            remarks += check_pair(small, large)
        except PairError as error:
            # whoever named two models and no strategy wants both of them
            if method.pair or method.name == "plain" or choice.strategy in (None, "auto"):
                raise
            small = None
            remarks.append(f"going on without the small model: {error.message}")
    settings = _settings(choice, method, profile, chosen.settings)
    if profile is None:
        return Plan(large, small, method, settings, None, tuple(remarks), chosen.hint)
    stale = [*others, *profile.other_machine(large)]
    if stale:
        void = "its thresholds and times are" if others else "its times are"
        more = f" (and {len(stale) - 1} more)" if len(stale) > 1 else ""
        remarks.append(
            f"profile {profile.name} is stale: {stale[0]}{more}; {void} not to be trusted, calibrate anew"
        )
    single, several = profile.machine.get("threads"), profile.machine.get("batch_threads")
    return Plan(
        large,
        small,
        method,
        settings,
        profile,
        tuple(remarks),
        chosen.hint,
        curves=None if stale or profile.costs is None else profile.costs.curves,
        bounded=not others and is_proved(profile, method, settings),
        threads=(single, several) if single and several and not stale else None,
    )


class Session:
    """Loaded engines and a strategy on them."""

    def __init__(self, plan: Plan, engines: Engines, load_seconds: float) -> None:
        self.plan = plan
        self.engines = engines
        self.load_seconds = load_seconds
        self._strategy = plan.method.build(engines, plan.settings)
        if plan.curves is not None and isinstance(self._strategy, Clocked):
            self._strategy.measured(plan.curves.large, plan.curves.small)

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
        tally = Tally(strategy.name, self._guarantee(question), plain_ms=self._plain_ms)
        stream = TextStream(tokenizing.vocabulary, question.stop)
        if isinstance(strategy, Iad):
            # it works on whole answers, so texts and Ctrl-C are handed in: it ends with the best answer so far
            exchange = self._exchange(question, interrupted)
            steps = strategy.answer(exchange, prompt, limits)
        else:
            steps = strategy.generate(prompt, limits)
        stopped: Finish | None = None
        last = -1
        try:
            for raw in steps:
                for step in stream.add(raw):
                    last = _count(tally, step, began, last)
                    yield step
                if stream.stopped or (interrupted() and not isinstance(strategy, Iad)):
                    stopped = "stop" if stream.stopped else "interrupted"
                    break
            if stopped is None and interrupted():
                stopped = "interrupted"
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

    def _exchange(self, question: Question, interrupted: Callable[[], bool]) -> Exchange:
        engine = self.engines.large

        def encode(text: str) -> list[int]:
            return encode_prompt(engine, text, system=question.system, raw=question.raw)[0]

        def text(tokens: Sequence[int]) -> str:
            return text_of(engine.vocabulary, tokens, question.stop)

        return Exchange(question.text, encode, text, question.verify, interrupted, question.budget)

    def _guarantee(self, question: Question) -> str:
        """What the strategy promises here; a budget is proved for greedy decoding only."""
        if self.plan.bounded and question.sampler.greedy:
            return Guarantee.BOUNDED.value
        return self.guarantee

    @property
    def _plain_ms(self) -> float | None:
        """What a token of the large model alone takes, as the profile measured it."""
        return None if self.plan.curves is None else self.plan.curves.large.ms(1)

    def reply(self, question: Question) -> tuple[str, dict[str, Any]]:
        """The text of an answer and its summary, for those who need no steps. Raises as `answer` does."""
        text: list[str] = []
        summary: dict[str, Any] = {}
        for event in self.answer(question):
            if isinstance(event, Step):
                text += [token.text for token in event.tokens]
            elif isinstance(event, End):
                summary = event.summary
        return "".join(text), summary

    def _start(self, question: Question, prompt: list[int], rendered: str) -> Start:
        models = {"large": describe_model(self.engines.large)}
        if self.engines.small is not None:
            models["small"] = describe_model(self.engines.small)
        profile = self.plan.profile
        return Start(
            adec=__version__,
            strategy=self._strategy.name,
            guarantee=self._guarantee(question),
            paper=self._strategy.paper,
            models=models,
            settings=dataclasses.asdict(self.plan.settings),
            sampling=dataclasses.asdict(question.sampler),
            prompt=rendered,
            prompt_tokens=len(prompt),
            max_tokens=question.max_tokens,
            profile=None if profile is None else profile.name,
            plain_ms_per_token=self._plain_ms,
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


def _settings(
    choice: Choice,
    method: Method,
    profile: Profile | None,
    chosen: Mapping[str, Any] | None = None,
) -> Any:
    """The method's settings: those `chosen`, else those that the profile fitted, with what was assigned over them."""
    assigned = setting_values.parse_assignments(choice.assignments)
    idle = [name for name in assigned if name != method.name]
    if idle:
        find_method(idle[0])
        raise UsageError(
            f"--set {idle[0]}.… has no effect: the strategy is {method.name}",
            hint=f"add --strategy {idle[0]}",
        )
    own = assigned.get(method.name, {})
    fitted: Mapping[str, Any] = {} if profile is None else profile.settings_of(method.name, own)
    if chosen is not None:
        fitted = chosen
    origin = "" if profile is None else f"profile {profile.name}"
    return setting_values.build(method.settings, method.name, (origin, fitted), ("--set", own))
