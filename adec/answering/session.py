"""Loaded models, and answers from them as events: shared by every command that generates."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from adec import __version__
from adec.answering.built_strategies import BuiltStrategies, within_bits
from adec.answering.exactness_plan import BitwisePlan
from adec.answering.exactness_watch import ExactnessWatch
from adec.answering.machine_watch import MachineWatch
from adec.answering.plan import Plan
from adec.answering.prompt import Exchanged, encode_prompt
from adec.answering.purchases import Purchases, check_draws
from adec.answering.remembered import Remembered, remembered_for
from adec.answering.text import TextStream, text_of
from adec.decoding.strategy import Exchange, Limits, Prompt
from adec.engines.base import Engine, OpenOptions
from adec.engines.opening import open_engines
from adec.engines.pair import Engines
from adec.errors import UsageError
from adec.events.records import End, Event, Guarantee, Start, Step
from adec.events.tally import Finish, Tally
from adec.judging.verifiers import Rating
from adec.sampling import Sampler


@dataclass(frozen=True)
class Question:
    """What shall be answered, and within which limits."""

    text: str
    system: str | None = None
    raw: bool = False
    earlier: tuple[Exchanged, ...] = ()
    """The conversation so far: a question and its answer each."""
    resume: bool = False
    """Whether engines may keep what they hold of the prompt from the answer before."""
    special: bool = False
    """Whether names of control tokens in a raw prompt stand for these tokens."""
    max_tokens: int = 256
    sampler: Sampler = field(default_factory=Sampler)
    stop: tuple[str, ...] = ()
    signals: bool = True
    """Whether the events must carry entropies, margins and probabilities."""
    verify: Callable[[str], Rating] | None = None
    """Scores whole answers, for a strategy that compares them; None: the large model's
    log-probability does."""
    budget: int | None = None
    """Tokens that such a strategy may feed on average; None: as its settings say."""


class Session:
    """Loaded engines and a strategy on them."""

    def __init__(
        self,
        plan: Plan,
        engines: Engines,
        load_seconds: float,
        remembered: Remembered | None = None,
    ) -> None:
        """`remembered`: the file of earlier answers, if the user agreed to keep them."""
        self.plan = plan
        self.engines = engines
        self.load_seconds = load_seconds
        self._remembered = remembered
        self._watch = MachineWatch(engines)
        self._bitwise = BitwisePlan(engines["large"])
        self._strategies = BuiltStrategies(plan, engines, self._bitwise, remembered)
        prices = None if plan.profile is None else plan.profile.prices
        self._purchases = Purchases(engines, prices)
        self.take(plan)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def guarantee(self) -> str:
        """What the strategy, with its settings, promises: exact, bounded or approximate."""
        return self._strategy.guarantee.value

    def take(self, plan: Plan) -> None:
        """Answer by another plan of the same models from now on. Raises UsageError.

        A strategy that was at work before goes on with what it has learned.
        """
        self._strategy = self._strategies.build(plan, self.engines)
        self.plan = plan

    def check_exactness(self) -> None:
        """Raise UsageError where bits are promised and the strategy at work does not keep them."""
        if self.plan.bitwise and self.guarantee != Guarantee.EXACT.value:
            raise UsageError(
                f"--exactness bitwise is for exact strategies; {self.plan.method.name} with these "
                f"settings is {self.guarantee}",
                hint="take speculate, or plain",
            )

    def close(self) -> None:
        """Free the engines."""
        self.engines.close()

    def answer(
        self,
        question: Question,
        *,
        interrupted: Callable[[], bool] = lambda: False,
        remark: Callable[[str], None] = lambda _: None,
    ) -> Iterator[Event]:
        """A start, steps with their texts, an end. `interrupted` is asked after each step.

        `remark` is told when an optional model is left out because its context is too small, when
        a canvas is cut short by it, and when answers cannot be remembered.

        Raises UsageError when the prompt leaves no room in the context, EngineError when a backend
        fails.
        """
        began = perf_counter()
        self._strategies.tell_trouble(remark)
        tokenizing = self.engines["large"]
        prompt, rendered = self._encode(question, question.text)
        strategy, engines = self._strategies.for_prompt(self.plan, len(prompt), remark)
        check_draws(engines, question.sampler)
        self._purchases.start()
        end = tokenizing.vocabulary.end
        bitwise = within_bits(self.plan, strategy)
        limits = Limits(
            question.max_tokens,
            end,
            question.sampler,
            question.signals,
            interrupted=interrupted,
            resume=question.resume,
            bitwise=bitwise,
            remark=remark,
        )
        if bitwise:
            # what is measured once is no part of an answer's time
            began += self._bitwise.prepare(
                prompt, question.max_tokens, limits.chunk, remark=remark, interrupted=interrupted
            )
        elif not self.plan.method.yardstick:
            self._bitwise.taint()
        yield self._start(question, engines, prompt, rendered)
        tally = Tally(
            strategy.name,
            self._guarantee(question),
            plain_ms=self._plain_ms,
            layers=engines["large"].info.layers,
        )
        exactness = ExactnessWatch(engines["large"], len(prompt), limits.chunk)
        stream = TextStream(tokenizing.vocabulary, question.stop)
        self._strategies.exchange = self._exchange_on(question)
        steps = strategy.generate(Prompt(tuple(prompt)), limits)
        stopped: Finish | None = None
        last = -1
        written: list[int] = []
        try:
            for raw in steps:
                written += [token.id for token in raw.tokens]
                exactness.add(raw)
                for step in stream.add(self._watch.mark(raw)):
                    last = _count(tally, step, began, last)
                    yield step
                if raw.lost:
                    stopped = "lost"
                if stream.stopped or (interrupted() and not self.plan.method.whole_answers):
                    stopped = "stop" if stream.stopped else "interrupted"
                    break
            if stopped is None and interrupted():
                stopped = "interrupted"
        finally:
            close = getattr(steps, "close", None)
            if close is not None:
                close()
            trouble = None if self._remembered is None else self._remembered.add(written)
        for step in stream.finish():
            last = _count(tally, step, began, last)
            yield step
        natural: Finish = (
            "end" if last in end else "length" if tally.tokens >= question.max_tokens else "context"
        )
        tally.finish = stopped or natural
        yield self._end(tally, exactness, perf_counter() - began, bitwise=bitwise)
        if trouble is not None:
            # not before the end: a display still has an open line of text until then
            remark(trouble)

    def _encode(self, question: Question, text: str) -> tuple[list[int], str]:
        return encode_prompt(
            self.engines["large"],
            text,
            system=question.system,
            earlier=question.earlier,
            raw=question.raw,
            special=question.special,
        )

    def _exchange_on(self, question: Question) -> Exchange:
        vocabulary = self.engines["large"].vocabulary

        def encode(text: str) -> list[int]:
            return self._encode(question, text)[0]

        def text(tokens: Sequence[int]) -> str:
            return text_of(vocabulary, tokens, question.stop)

        return Exchange(question.text, encode, text, question.verify, question.budget)

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
        """The text of an answer and its summary, without the steps. Raises as `answer` does."""
        text: list[str] = []
        summary: dict[str, Any] = {}
        for event in self.answer(question):
            if isinstance(event, Step):
                text += [token.text for token in event.tokens]
            elif isinstance(event, End):
                summary = event.summary
        return "".join(text), summary

    def _start(
        self, question: Question, engines: Engines, prompt: list[int], rendered: str
    ) -> Start:
        models = {role: describe_model(engine) for role, engine in engines.items()}
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
            max_tokens=min(question.max_tokens, self.engines.context - len(prompt)),
            profile=None if profile is None else profile.name,
            plain_ms_per_token=self._plain_ms,
            prompt_held=self.engines["large"].common(prompt) if question.resume else 0,
            yardstick=self.plan.method.yardstick,
        )

    def _end(
        self, tally: Tally, exactness: ExactnessWatch, seconds: float, *, bitwise: bool
    ) -> End:
        machine = self._watch.summary()
        if tally.guarantee == Guarantee.EXACT.value and not self.plan.method.yardstick:
            changed = "thread_changes" in machine
            machine |= exactness.summary(threads_changed=changed, planned=bitwise)
        figures = tally.summary(seconds) | {"load_seconds": self.load_seconds}
        return End(figures | machine | self._purchases.summary())


def open_session(plan: Plan, options: OpenOptions, *, remember: bool = False) -> Session:
    """Load the weights of a plan's models. Raises EngineError.

    `remember`: keep the token ids of answers on this disk, and draft from those of earlier runs.
    """
    began = perf_counter()
    if plan.threads is not None and options.threads is None and options.batch_threads is None:
        single, several = plan.threads
        options = dataclasses.replace(options, threads=single, batch_threads=several)
    if plan.bitwise:
        # beyond some length plain decoding's own rows depend on the number of threads
        options = dataclasses.replace(options, adapts=False)
    engines = open_engines(plan.models, options)
    remembered = remembered_for(engines["large"]) if remember else None
    session = Session(plan, engines, perf_counter() - began, remembered)
    try:
        session.check_exactness()
    except UsageError:
        session.close()
        raise
    return session


def describe_model(engine: Engine) -> dict[str, Any]:
    """A model as a trace names it: plain data."""
    info = engine.info
    return {
        "name": info.name,
        "path": str(info.path),
        "format": info.format,
        "parameters": info.parameters,
        "layers": info.layers,
        "quantisation": info.quantisation,
        "vocabulary": engine.vocabulary.fingerprint,
        **({"servers": len(info.servers)} if info.servers else {}),
    }


def _count(tally: Tally, step: Step, began: float, last: int) -> int:
    tally.add(step, perf_counter() - began)
    return step.tokens[-1].id if step.tokens else last
