"""Entropy Adaptive Decoding: the small model writes while it is sure, the large one otherwise.

Simonds 2025, "Entropy Adaptive Decoding: Dynamic Model Switching for Efficient Inference", arXiv
2502.06833.

What the paper leaves open is a setting here: two thresholds instead of one (hysteresis), whether
the window is cleared when models change hands, and a dwell down to none. The row that raises the
alarm is not used: the token of that position is the first one that the large model writes. A model
that wakes reads what it missed in one batched forward, which is counted.

`accept=exact` is ours: the same forward judges the drafts, which makes the method lossless. With
`accept=tolerant` a draft stands if the large model finds it nearly as likely as its own token: the
lenience of Leviathan et al. (arXiv 2211.17192, appendix A.5), see `judge_chain`. With `wake=clock`
the large model waits until a block of drafts is full: see `block_wakes.py`. Two models of unlike
vocabularies hand over text, where tokens of both end: see `unlike/ead_by_text.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from adec.decoding.answer import (
    AnswerState,
    begin_prompt,
    expect,
    read_prompt,
    read_prompt_but_last,
)
from adec.decoding.pair.accept import tree_record
from adec.decoding.pair.block_wakes import BlockEadLoop, judge_chain
from adec.decoding.pair.clock.wake_clock import WakeClock
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids, Limits, Prompt
from adec.engines.base import Engine
from adec.engines.pair import Engines
from adec.events.records import Guarantee, How, Purpose, Signal, Step, Token
from adec.signals import RollingMean, Scores, Signals, compared
from adec.tree import TokenTree


class EntropyRule:
    """The switch: a rolling mean of the active model's entropy against two thresholds.

    Entropies are nats of raw logits, before temperature. A model writes at least `dwell` tokens
    before it is relieved. `up` > `down` gives hysteresis. With `dwell` 0 and `window` 1 each token
    is decided on its own. The rule looks at distributions, never at a drawn token.
    """

    def __init__(self, *, up: float, down: float, window: int, dwell: int, reset: bool) -> None:
        self._up = up
        self._down = down
        self._dwell = dwell
        self._reset = reset
        self._mean = RollingMean(window)
        self._of = "entropy" if window == 1 else f"mean entropy of {window}"
        self.signal: Signal | None = None
        """What the last decision rested on."""
        self.reason = ""
        """The last change of hands, in words."""

    def start(self) -> None:
        """Begin a new answer."""
        self._mean.reset()
        self.signal = None

    def wake(self, signals: Signals, row: int, written: int) -> bool:
        """Whether the large model should write this position. The row is the small model's.

        `written`: tokens that the model at work has written since it took over, here and below.
        """
        value = self._mean.add(signals.entropy(row))
        self.signal = Signal(value, self._up)
        return self._change(
            value > self._up, written, f"{self._of} {compared(value, '>', self._up)} nats"
        )

    def hand_back(self, signals: Signals, row: int, written: int) -> bool:
        """Whether the small model shall go on after the large one wrote the token of this row."""
        value = self._mean.add(signals.entropy(row))
        self.signal = Signal(value, self._down)
        return self._change(
            value <= self._down, written, f"{self._of} {compared(value, '<=', self._down)} nats"
        )

    def _change(self, wanted: bool, written: int, reason: str) -> bool:
        if not wanted or written < self._dwell:
            return False
        self.reason = reason
        if self._reset:
            self._mean.reset()
        return True


class EadLoop:
    """One answer of EAD, which trusts every token that the small model is sure of."""

    def __init__(
        self, small: Engine, large: Engine, settings: EadSettings, prompt: Prompt, limits: Limits
    ) -> None:
        self._small = small
        self._large = large
        self._rule = settings.rule()
        self._longest = settings.longest
        self._share = settings.least_share
        self._prompt = prompt.ids
        self._answer = AnswerState(prompt, limits, min(small.context, large.context))
        self._meter = limits.meter()
        self._small_scores: Scores | None = None  # of the next token, where it was read already
        self._large_row: tuple[Scores, int]
        self._why: str | None = None  # the small model took over
        self._stretch = max(1, settings.dwell) if limits.sampler.greedy else 1
        self._drafts: list[Token] = []  # to be judged; the paper's loop commits them at once

    def run(self) -> Iterator[Step]:
        """Yield the steps of the answer."""
        answer, large, prompt = self._answer, self._large, self._prompt
        limits = answer.limits
        self._rule.start()
        begin_prompt(large, prompt, limits)
        yield from self._small_begins()
        while not answer.done:
            yield from self._small_writes()
            if answer.done:
                return
            if large.length < len(prompt) - 1:
                # its first wake
                with self._meter.away():
                    yield from read_prompt_but_last(large, "large", prompt, limits)
            yield self._large_wakes()
            yield from self._large_writes()

    def _small_begins(self) -> Iterator[Step]:
        """The small model reads the prompt."""
        limits = self._answer.limits
        self._small_scores = yield from read_prompt(self._small, "small", self._prompt, limits)

    def _small_writes(self) -> Iterator[Step]:
        """The small model writes until the rule wakes the large one."""
        answer, rule, meter, written = self._answer, self._rule, self._meter, 0
        meter.start()
        while not answer.done:
            scores = self._read_small()
            if rule.wake(scores, 0, written):
                return
            record = self._write(scores, "small")
            self._small_scores = None
            written += 1
            yield meter.step("draft", (record,), signal=rule.signal, reason=self._why)
            self._why = None
            meter.start()

    def _large_wakes(self) -> Step:
        """The large model reads all that it missed in one forward, and writes a token."""
        unread = self._answer.unread(self._large)
        purpose: Purpose = "write" if len(unread) == 1 else "catch_up"
        expect(self._large, min(self._stretch, self._answer.room))
        scores = self._meter.forward(self._large, "large", purpose, unread)
        record = self._write(scores, "large")
        self._large_row, self._small_scores = (scores, 0), None
        return self._meter.step(
            "wake", (record,), signal=self._rule.signal, reason=self._rule.reason
        )

    def _large_writes(self) -> Iterator[Step]:
        """The large model writes on until the rule hands back."""
        answer, rule, meter, written = self._answer, self._rule, self._meter, 1
        while not answer.done:
            meter.start()
            if self._hands_back(written):
                break
            scores = meter.forward(self._large, "large", "write", answer.sequence[-1:])
            record = self._write(scores, "large")
            self._large_row = scores, 0
            written += 1
            yield meter.step("write", (record,), signal=rule.signal)
        self._why = rule.reason

    def _hands_back(self, written: int) -> bool:
        """Whether the small model goes on, after so many tokens of the large one."""
        return self._rule.hand_back(*self._large_row, written)

    def _read_small(self, drafts: Sequence[int] = ()) -> Scores:
        """The small model's row for the next token, after it has read what it has not seen."""
        if self._small_scores is None:
            unread = [*self._answer.sequence, *drafts][self._small.length :]
            purpose: Purpose = "draft" if len(unread) == 1 else "catch_up"
            self._small_scores = self._meter.forward(self._small, "small", purpose, unread)
        return self._small_scores

    def _write(self, scores: Scores, source: str) -> Token:
        answer = self._answer
        token = answer.limits.sampler.pick(scores, 0, len(answer.sequence))
        answer.sequence.append(token)
        return answer.describe(scores, 0, token, source)


class VerifiedEadLoop(EadLoop):
    """EAD whose drafts are held back until the large model wakes, which then judges them."""

    def _small_writes(self) -> Iterator[Step]:
        """The small model drafts until the rule wakes the large one; nothing is committed."""
        answer, limits = self._answer, self._answer.limits
        drafts: list[Token] = []
        self._meter.start()
        at_once = self._large.at_once - len(answer.unread(self._large))
        while len(drafts) < min(self._longest, answer.room, at_once):
            scores = self._read_small([draft.id for draft in drafts])
            if self._rule.wake(scores, 0, len(drafts)):
                break
            token = limits.sampler.pick(scores, 0, len(answer.sequence) + len(drafts))
            drafts.append(answer.describe(scores, 0, token, "small", "accepted"))
            self._small_scores = None
            if token in limits.end:
                break
        self._drafts = drafts
        yield from ()

    def _large_wakes(self) -> Step:
        """The forward that reads what was missed reads the drafts, too, and so judges them."""
        answer, large, drafts, rule = self._answer, self._large, self._drafts, self._rule
        if not drafts:
            return super()._large_wakes()
        base, tree = len(answer.sequence), TokenTree()
        for draft in drafts:
            tree.add(len(tree) - 1, draft.id, draft.probability)
        fed = [*answer.unread(large), *tree.tokens]
        scores = self._meter.forward(large, "large", "verify", fed, rows=len(drafts) + 1)
        accepted = judge_chain(tree.tokens, scores, base, answer.limits, self._share)
        count = len(accepted.path)
        written = drafts[:count]
        if accepted.token is not None and count < answer.room:
            how: How = "bonus" if accepted.bonus else "corrected"
            written.append(answer.describe(scores, count, accepted.token, "large", how))
        answer.commit(written)
        self._settle_small()
        answer.settle(self._meter, large, "large")
        self._large_row, self._small_scores = (scores, count), None
        return self._meter.step(
            "wake",
            tuple(written),
            drafted=len(drafts),
            accepted=count,
            signal=rule.signal,
            reason=rule.reason,
            detail=tree_record(tree, accepted),
        )

    def _settle_small(self) -> None:
        """Take drafts that were not committed out of the small model's cache."""
        self._answer.settle(self._meter, self._small, "small")


@dataclass(frozen=True, slots=True)
class EadSettings:
    """`--set ead.NAME=VALUE`.

    Window and dwell are the paper's. It leaves the threshold to the user: ours is one bit.
    """

    up: float = setting(0.693, "nats above which the large model wakes", least=0)
    down: float | None = setting(
        None, "nats at or below which it hands back; as ead.up when not given", least=0
    )
    window: int = setting(5, "tokens in the rolling mean of entropy", least=1, most=10_000)
    dwell: int = setting(
        10, "tokens that a model writes at least; 0: each is decided on its own", least=0
    )
    reset: bool = setting(False, "clear the window when models change hands")
    accept: Literal["none", "exact", "tolerant"] = setting(
        "none",
        "none: trust the small model (the paper). exact: the large one judges every draft. "
        "tolerant: likewise, but it lets some drafts stand that it would not have written",
    )
    share: float = setting(
        0.2,
        "a draft stands where the large model gives it at least this share of what it gives its "
        "own best token: 1 is exact (greedy), 0.2 lets one stand that it finds a fifth as likely "
        "(tolerant only)",
        least=0.001,
        most=1,
    )
    wake: Literal["doubt", "clock"] = setting(
        "doubt",
        "doubt: the large model wakes by ead.up (the paper). clock: when waiting for more drafts "
        "costs more than it saves, by measured times; window, dwell, down and reset then say "
        "nothing",
    )
    start: Literal["forecast", "always"] = setting(
        "forecast",
        "forecast: the small model reads the prompt once that is likely to be won back. always: at "
        "once (with wake=clock only; without, it always does)",
    )
    longest: int = setting(
        16, "tokens drafted at most before the large model judges (not with wake=clock)", least=1
    )

    @property
    def least_share(self) -> float | None:
        """The share of the best token's probability that a draft needs; None: exact."""
        return self.share if self.accept == "tolerant" else None

    @property
    def takes_back(self) -> bool:
        """Whether drafts are judged, so that both models must be able to take tokens back."""
        return self.accept != "none" or self.wake == "clock"

    def rule(self) -> EntropyRule:
        """The switch that these settings describe."""
        down = self.up if self.down is None else self.down
        return EntropyRule(
            up=self.up, down=down, window=self.window, dwell=self.dwell, reset=self.reset
        )


class Ead:
    """EAD on two engines that share a vocabulary."""

    name = "ead"
    paper = "arXiv 2502.06833"

    def __init__(
        self, small: Engine, large: Engine, settings: EadSettings, aids: Aids | None = None
    ) -> None:
        self._small = small
        self._large = large
        self._settings = settings
        curves = aids.curves if aids is not None else {}
        self._clock = WakeClock(
            small, large, curve=curves.get("large"), small_curve=curves.get("small")
        )

    @property
    def guarantee(self) -> Guarantee:
        return Guarantee.EXACT if self._settings.accept == "exact" else Guarantee.APPROXIMATE

    def generate(self, prompt: Prompt, limits: Limits) -> Iterator[Step]:
        """See `Strategy.generate`."""
        small, large, settings = self._small, self._large, self._settings
        if settings.wake == "clock":
            return BlockEadLoop(
                small,
                large,
                self._clock,
                prompt,
                limits,
                share=settings.least_share,
                trust=settings.up if settings.accept == "none" else None,
                eager=settings.start == "always",
            ).run()
        loop = EadLoop if settings.accept == "none" else VerifiedEadLoop
        return loop(small, large, settings, prompt, limits).run()


def build(engines: Engines, settings: EadSettings, aids: Aids) -> Ead:
    """EAD on a pair."""
    return Ead(engines["small"], engines["large"], settings, aids)
