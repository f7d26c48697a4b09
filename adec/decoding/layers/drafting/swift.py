"""SWIFT: a model drafts with some of its own layers left out, and finds out which while it writes.

Xia et al. 2025, "SWIFT: On-the-Fly Self-Speculative Decoding for LLM Inference Acceleration", arXiv
2410.06916. The whole model verifies what the layers that are kept have drafted. Sets of layers are
judged on tokens that were just written: the share of them that a set would have drafted.

    window     now and then the newest tokens are read again with another set left out
    next set   a change of the best one, or one drawn by lot; the lowest and the highest layer stay
    a draft    of the set and the length of the most tokens per time, by what is known of them

What is different here: time is milliseconds of this run, as in KnapSpec (Cha et al. 2026, arXiv
2602.20217), so that a round is plain where no set is forecast to win. Sets are whole layers; both
papers leave out attention and feed-forward parts one by one. SWIFT searches during the first tokens
of a session whatever that costs. Here the search has an account (`search_account.py`): where drafts
do not pay it is soon empty, and what is left is plain decoding. What was learnt of sets serves
later answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import cast

from msgspec.structs import replace

from adec.decoding.answer import AnswerState
from adec.decoding.layers.drafting.exit_times import ExitTimes
from adec.decoding.layers.drafting.paying_exits import PAYS
from adec.decoding.layers.drafting.search_account import SearchAccount
from adec.decoding.layers.drafting.self_draft import Exit, ExitRule, Round, SelfDraft
from adec.decoding.layers.unified_skip import kept_layers
from adec.decoding.meter import Meter
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids, Limits, Prompt
from adec.engines.base import ModelInfo
from adec.engines.pair import Engines
from adec.engines.protocols import LayerEngine
from adec.errors import UsageError
from adec.events.records import Step
from adec.signals import Scores

Layers = frozenset[int]
"""Numbers of the layers that are left out."""

MOST_SETS = 12
"""Sets that are remembered; the one that agreed least is forgotten."""
_DECAY = 0.98


@dataclass(slots=True)
class _Known:
    agreed: float = 0.0
    seen: float = 0.0

    def add(self, agreed: int, seen: int) -> None:
        """Later positions count more."""
        self.agreed = _DECAY * self.agreed + agreed
        self.seen = _DECAY * self.seen + seen

    @property
    def acceptance(self) -> float:
        """Hopeful while little is known: a set is tried before it is judged."""
        return (self.agreed + 1.5) / (self.seen + 2)


class LayerSets(ExitRule):
    """Which layers to leave out next, and how many tokens to draft without them."""

    def __init__(self, layers: int, longest: int, seed: int = 0) -> None:
        self._layers = layers
        self._longest = longest
        self._rng = Random(seed)
        self._times = ExitTimes(layers)
        self._known: dict[Layers, _Known] = {}
        self._account = SearchAccount()
        self.left_out: Layers = frozenset()
        """The set of the round."""

    def start(self, engine: LayerEngine) -> None:
        """What is known of sets and times stays."""

    @property
    def balance(self) -> float:
        """Milliseconds that the search may take now."""
        return self._account.balance_ms(self._times.plain_ms)

    def choose(self) -> Exit:
        """The best set and length by forecast, a trial of another set, or a plain round."""
        _, best, length = self.forecast()
        if length:
            self.left_out = best
            return Exit(self._layers - len(best), length)
        tried = self.candidate()
        kept = self._layers - len(tried)
        trial_ms = self._round_ms(kept, 1)
        if self._could_pay(kept) and self._account.affords(trial_ms, self._times.plain_ms):
            self.left_out = tried
            return Exit(kept, 1)
        self.left_out = frozenset()
        return Exit(self._layers, 0)

    def forecast(self) -> tuple[float, Layers, int]:
        """Tokens a millisecond, the set, and its length; length 0 where plain decoding is best."""
        best: tuple[float, Layers, int] = (PAYS * self._times.plain_rate(), frozenset(), 0)
        for left_out, known in self._known.items():
            tokens = reach = 1.0
            for length in range(1, self._longest + 1):
                reach *= min(known.acceptance, 1.0)
                tokens += reach
                rate = tokens / self._round_ms(self._layers - len(left_out), length)
                if rate > best[0]:
                    best = (rate, left_out, length)
        return best

    def _could_pay(self, kept: int) -> bool:
        """Whether a set of so many layers would beat plain decoding if all its drafts stood."""
        if not self._times.knows_batches:
            return True
        lengths = range(1, self._longest + 1)
        most = max((1 + length) / self._round_ms(kept, length) for length in lengths)
        return most > PAYS * self._times.plain_rate()

    def candidate(self) -> Layers:
        """A set to try: evenly spread ones at first, then changes of the best, some by lot."""
        for speedup in (2.0, 1.4):
            even = frozenset(range(self._layers)) - frozenset(kept_layers(self._layers, speedup))
            if even and even not in self._known:
                return even
        inner = range(1, self._layers - 1)
        if self._known and self._rng.random() < 0.7:
            best = max(self._known, key=lambda one: self._known[one].acceptance)
            changed = set(best) ^ {self._rng.choice(inner)}
            if self._rng.random() < 0.5:
                changed ^= {self._rng.choice(inner)}
        else:
            changed = set(self._rng.sample(inner, self._rng.randint(1, max(1, len(inner) // 2))))
        return frozenset(changed) or frozenset([self._rng.choice(inner)])

    def window_ms(self, left_out: Layers, tokens: int) -> float:
        """What it takes to read so many tokens with a set left out, and again with all layers."""
        whole = self._times.finish_ms(0, tokens)
        return whole * (2 - len(left_out) / self._layers)

    def judged(self, left_out: Layers, agreed: int, seen: int, ms: float, whole_ms: float) -> None:
        """A window was read: so many of its tokens the set would have drafted."""
        self._of(left_out).add(agreed, seen)
        self._times.add_reading(seen, whole_ms)
        self._account.spend(ms + whole_ms)
        self._forget()

    def learn(self, engine: LayerEngine, done: Round) -> None:
        """Which drafts stood; those after the first wrong one say nothing."""
        if done.drafts:
            seen = min(done.accepted + 1, len(done.drafts))
            self._of(self.left_out).add(done.accepted, seen)
            self._forget()

    def account(self, step: Step) -> None:
        """Learn the times, and what the round won or lost."""
        # a window is no round
        own = tuple(
            f
            for f in step.forwards
            if f.purpose != "catch_up" and (f.purpose != "draft" or f.tokens == 1)
        )
        self._account.book_round(replace(step, forwards=own), self._times)

    def account_prompt(self, step: Step) -> None:
        """What a part of the prompt took is what a batch of so many tokens takes."""
        self._account.book_prompt(step, self._times)

    def _round_ms(self, kept: int, length: int) -> float:
        return length * self._times.draft_ms(kept) + self._times.finish_ms(0, length + 1)

    def _of(self, left_out: Layers) -> _Known:
        return self._known.setdefault(left_out, _Known())

    def _forget(self) -> None:
        if len(self._known) > MOST_SETS:
            del self._known[min(self._known, key=lambda one: self._known[one].acceptance)]


class Swift(SelfDraft):
    """The loop of self-speculation, its drafts by a model with layers left out."""

    def __init__(self, engine: LayerEngine, rule: LayerSets, window: int) -> None:
        super().__init__("swift", "arXiv 2410.06916", engine, rule)
        self._sets = rule
        self._window = window
        self._sure = 0

    def generate(self, prompt: Prompt, limits: Limits) -> Iterator[Step]:
        """See `Strategy.generate`."""
        engine = self._engine
        engine.leave_out(())
        self._sure = engine.context
        try:
            yield from super().generate(prompt, limits)
        finally:
            # an error in mid-round leaves tokens that some layers never saw
            self._back(min(self._sure, engine.length))

    def _prepare(self, meter: Meter, answer: AnswerState, limits: Limits) -> None:
        """Judge another set on the newest tokens, where drafts pay for it."""
        engine, sets, count = self._engine, self._sets, self._window
        if sets.forecast()[2] == 0 or answer.written <= count:
            return
        left_out = sets.candidate()
        if sets.window_ms(left_out, count) > sets.balance:
            return
        read = len(answer.sequence) - 1
        tokens = answer.sequence[read - count : read]
        self._without(left_out, read - count)
        kept = engine.info.layers - len(left_out)
        rows = meter.forward(engine, "large", "draft", tokens, rows=count, layers=kept)
        agreed = sum(
            limits.sampler.pick(rows, row, read - count + row + 1)
            == answer.sequence[read - count + row + 1]
            for row in range(count)
        )
        ms = meter.forwards[-1].ms
        self._back(read - count)
        meter.forward(engine, "large", "catch_up", tokens, rows=0)
        sets.judged(left_out, agreed, count, ms, meter.forwards[-1].ms)

    def _draft(self, meter: Meter, fed: Sequence[int], chosen: Exit) -> Scores:
        if self._sure > self._engine.length:
            self._without(self._sets.left_out, self._engine.length)
        return meter.forward(self._engine, "large", "draft", fed, layers=chosen.depth)

    def _verify(self, meter: Meter, tokens: Sequence[int], chosen: Exit) -> Scores:
        engine = self._engine
        if len(tokens) == 1:
            return meter.forward(engine, "large", "write", tokens)
        # each draft was read when the next one was made; the last one was not
        self._back(engine.length - (len(tokens) - 1))
        layers = engine.info.layers
        return meter.forward(engine, "large", "verify", tokens, rows=len(tokens), layers=layers)

    def _source(self, chosen: Exit) -> str:
        return f"{chosen.depth} layers"

    def _without(self, left_out: Layers, length: int) -> None:
        """Leave layers out for tokens from `length` on."""
        self._sure = length
        self._engine.rewind(length)
        self._engine.leave_out(left_out)

    def _back(self, length: int) -> None:
        """Drop what layers were left out for, and run all of them again."""
        self._engine.rewind(length)
        self._engine.leave_out(())
        self._sure = self._engine.context


@dataclass(frozen=True, slots=True)
class SwiftSettings:
    """`--set swift.NAME=VALUE`."""

    longest: int = setting(8, "tokens drafted at most", least=1, most=64)
    window: int = setting(
        16, "newest tokens that a set is judged on (paper: 32)", least=2, most=256
    )


def check(settings: SwiftSettings, info: ModelInfo) -> None:
    """Raise UsageError where the model has fewer than three layers."""
    if info.layers < 3:
        raise UsageError(f"swift: {info.name} has no layer between its lowest and its highest")


def build(engines: Engines, settings: SwiftSettings, aids: Aids) -> Swift:
    """SWIFT on the large model. Raises UsageError where it has fewer than three layers."""
    engine = cast(LayerEngine, engines["large"])
    check(settings, engine.info)
    rule = LayerSets(engine.info.layers, settings.longest)
    return Swift(engine, rule, settings.window)
