"""Loaded models, and answers from them as events: shared by every command that generates."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from adec import __version__
from adec.answering.exactness_plan import BitwisePlan
from adec.answering.exactness_watch import ExactnessWatch
from adec.answering.lost_gate import gate
from adec.answering.machine_watch import MachineWatch
from adec.answering.plan import Plan
from adec.answering.prompt import Exchanged, encode_prompt
from adec.answering.purchases import Purchases, check_draws
from adec.answering.remembered import Remembered, remembered_for
from adec.answering.text import TextStream, text_of
from adec.decoding.strategy import Aids, Exchange, Limits, Prompt, Strategy
from adec.engines.base import Engine, OpenOptions
from adec.engines.opening import open_engines
from adec.engines.pair import Engines
from adec.errors import AdecError, ContextError, ModelFileError, UsageError
from adec.events.records import End, Event, Guarantee, Start, Step
from adec.events.tally import Finish, Tally
from adec.judging.verifiers import Rating
from adec.parts.kept_parts import find_part, need_part
from adec.parts.part import Part
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
        curves = {} if plan.curves is None else plan.curves.by_role
        self._exchange: Exchange | None = None
        self._remembered = remembered
        found = None if remembered is None else remembered.read()
        self._trouble = None if found is None else found.error
        if found is not None and found.spoilt and remembered is not None:
            lines = "a line" if found.spoilt == 1 else f"{found.spoilt} lines"
            self._trouble = f"{lines} of {remembered.path} ignored: not what adec wrote"
        earlier = None if found is None else found.answers
        large = engines["large"].info
        self._aids = Aids(
            curves,
            lambda: self._exchange,
            earlier,
            part=lambda kind: need_part(kind, large),
            fitted=self._fitted,
            complain=self._complain,
        )
        self._strategies: dict[tuple[str, Any, frozenset[str], bool], Strategy] = {}
        self._watch = MachineWatch(engines)
        self._bitwise = BitwisePlan(engines["large"])
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
        self._strategy = self._built(plan, self.engines)
        self.plan = plan

    def check_exactness(self) -> None:
        """Raise UsageError where bits are promised and the strategy at work does not keep them."""
        if self.plan.bitwise and self.guarantee != Guarantee.EXACT.value:
            raise UsageError(
                f"--exactness bitwise is for exact strategies; {self.plan.method.name} with these "
                f"settings is {self.guarantee}",
                hint="take speculate, or plain",
            )

    def _built(self, plan: Plan, engines: Engines) -> Strategy:
        key = plan.method.name, plan.settings, frozenset(engines), plan.stop_when_lost
        if key not in self._strategies:
            usable = plan.engines_for(engines)
            built = plan.method.build(usable, plan.settings, self._aids)
            if _within_bits(plan, built):
                guarded = Engines(**{**usable, "large": self._bitwise.engine})
                built = plan.method.build(guarded, plan.settings, self._aids)
            if plan.stop_when_lost:
                built = gate(built, engines, self._aids)
            self._strategies[key] = built
        return self._strategies[key]

    def _fitted(self, kind: str) -> Part | None:
        """A part that a strategy can do without; what is wrong with one is told once."""
        try:
            return find_part(kind, self.engines["large"].info)
        except ModelFileError as error:
            self._complain(error)
            return None

    def _complain(self, error: AdecError) -> None:
        self._trouble = f"going on without a part: {error.message}"

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
        if self._trouble is not None:
            remark(self._trouble)
            self._trouble = None
        tokenizing = self.engines["large"]
        prompt, rendered = self._encode(question, question.text)
        strategy, engines = self._serving(len(prompt), remark)
        check_draws(engines, question.sampler)
        self._purchases.start()
        end = tokenizing.vocabulary.end
        bitwise = _within_bits(self.plan, strategy)
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
        self._exchange = self._exchange_on(question)
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
            if trouble is not None:
                remark(trouble)
        for step in stream.finish():
            last = _count(tally, step, began, last)
            yield step
        natural: Finish = (
            "end" if last in end else "length" if tally.tokens >= question.max_tokens else "context"
        )
        tally.finish = stopped or natural
        machine = self._watch.summary()
        if tally.guarantee == Guarantee.EXACT.value and not self.plan.method.yardstick:
            changed = "thread_changes" in machine
            machine |= exactness.summary(threads_changed=changed, planned=bitwise)
        summary = tally.summary(perf_counter() - began)
        machine |= self._purchases.summary()
        yield End({**summary, "load_seconds": self.load_seconds, **machine})

    def _serving(self, count: int, remark: Callable[[str], None]) -> tuple[Strategy, Engines]:
        """The strategy, and its engines, for a prompt of `count` tokens. Raises UsageError."""
        short = {role: engine for role, engine in self.engines.items() if count >= engine.context}
        if not short:
            return self._strategy, self.engines
        needed = [engine for role, engine in short.items() if role in self.plan.method.needs]
        if not needed:
            rest = Engines(**{r: e for r, e in self.engines.items() if r not in short})
            try:
                strategy = self._built(self.plan, rest)
            except UsageError:  # a setting asks for the model
                needed = list(short.values())
            else:
                for engine in short.values():
                    remark(
                        f"going on without {engine.info.path.name}: the prompt has {count:,} tokens"
                        f", its context holds {engine.context:,}"
                    )
                return strategy, rest
        engine = needed[0]
        limit = engine.info.context_limit
        if engine.context < limit:
            hint = f"shorten it, or give a larger --ctx, {limit:,} at most"
        elif "large" not in short:
            hint = "shorten it, or take a strategy that does not need the small model"
        else:
            hint = "shorten it: the model reads no more"
        raise ContextError(
            f"the prompt has {count:,} tokens, the context of {engine.info.path.name} holds"
            f" {engine.context:,}",
            hint=hint,
        )

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


def _within_bits(plan: Plan, strategy: Strategy) -> bool:
    """Whether a strategy must be kept to forwards that are bit for bit plain decoding's."""
    exact = strategy.guarantee is Guarantee.EXACT
    return plan.bitwise and exact and not plan.method.yardstick


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
