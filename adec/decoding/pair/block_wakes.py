"""EAD whose large model wakes by the clock: not at the first doubt, but when a block is full.

Not of the paper. The small model in doubt drafts on, and the large one reads and judges the whole
block in one forward. How long the block gets is the question of `Block.waits`: tokens per
millisecond if the large model reads now, against waiting for n more drafts. A doubt makes waiting
expensive, since all that follows a draft falls with it; a forward whose cost rises in steps makes
waiting cheap until a step is full.

A draft stands if the large model would have written it, or if it gives it a given share of what it
gives its own best token. Or else the small model is trusted, as in the paper: what it is sure of
is committed at once, a block begins with its first doubt, and only doubtful drafts are judged. An
answer that ends without a further doubt is not read by the large model.

The small model reads the prompt only where that is likely to be won back (`WakeClock.forecast`).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Generator, Iterator, Sequence
from dataclasses import dataclass, field

from adec.decoding.answer import AnswerState, begin_prompt, read_prompt, read_prompt_but_last
from adec.decoding.pair.accept import picks, tree_record
from adec.decoding.pair.bild import roll_back
from adec.decoding.pair.clock.start_forecast import StartDecision
from adec.decoding.pair.clock.wake_clock import Block, WakeClock
from adec.decoding.pair.drafters.drafter import Accepted
from adec.decoding.strategy import Limits, Prompt
from adec.engines.base import Engine
from adec.events.records import How, Kind, Purpose, Role, Signal, Step, Token
from adec.signals import Scores
from adec.tree import TokenTree

LONGEST = 64
"""Drafts in a block at most."""


def judge_chain(
    draft: Sequence[int],
    scores: Scores,
    base: int,
    limits: Limits,
    share: float | None,
    trusted: Collection[int] = (),
) -> Accepted:
    """A chain up to the first draft that does not stand, and the large model's token after it.

    A draft stands if the large model would have written it or, with a `share`, gives it at least
    that share of its best token's probability; an end token must be the large model's own. That is
    the lenience for greedy decoding of Leviathan et al. 2023 (arXiv 2211.17192, appendix A.5):
    p(x) >= share * max p, here for drawn tokens, too, on raw logits. Medusa's typical acceptance
    (arXiv 2401.10774) and BiLD's rollback hold p(x) itself against a threshold.

    The `trusted` ones, by index, stand unjudged. `scores`: the large model's rows, of which row i
    judges draft i, at position `base` + i.
    """
    pick = picks(scores, base, limits)

    def surprise(node: int) -> float:
        if node in trusted or draft[node] == pick(node - 1, node):
            return 0.0
        likely = draft[node] not in limits.end and is_likely(draft[node], scores, node, share)
        return 0.0 if likely else math.inf

    return roll_back(draft, surprise, 0.0, pick, limits.end)


def is_likely(token: int, scores: Scores, row: int, share: float | None) -> bool:
    """Whether a row gives a token at least this share of what it gives its best one."""
    if share is None:
        return False
    return scores.probability(row, token) >= share * scores.probability(row, scores.argmax(row))


@dataclass(slots=True)
class Drafts:
    """A block of drafts, to be read by the large model."""

    tokens: list[Token] = field(default_factory=list)
    probabilities: list[float] = field(default_factory=list)
    """What the small model gives them."""
    trusted: set[int] = field(default_factory=set)
    """Those that stand unjudged, by index."""
    doubted: tuple[int, float] | None = None
    """The token after them, which was not drafted, and its probability."""

    def cut(self, count: int) -> None:
        """Keep the first `count` drafts."""
        if count < len(self.tokens):
            self.doubted = None
        del self.tokens[count:], self.probabilities[count:]
        self.trusted = {index for index in self.trusted if index < count}


class BlockEadLoop:
    """One answer. The large model writes wherever blocks do not pay."""

    def __init__(
        self,
        small: Engine,
        large: Engine,
        clock: WakeClock,
        prompt: Prompt,
        limits: Limits,
        *,
        share: float | None,
        trust: float | None,
        eager: bool = False,
    ) -> None:
        """`share`: see `judge_chain`. `trust`: nats up to which the small model is trusted; None:
        all its drafts are judged. `eager`: it is started even if its reading is not won back."""
        self._small = small
        self._large = large
        self._clock = clock
        self._share = share
        self._trusts = trust is not None
        self._trust = -1.0 if trust is None else trust
        self._prompt = prompt.ids
        self._limits = limits
        self._answer = AnswerState(prompt, limits, large.context)
        self._meter = limits.meter()
        self._started = eager
        self._starting = StartDecision()
        self._doubt: Scores | None = None  # the small model's row of the token that it doubts

    def run(self) -> Iterator[Step]:
        """Yield the steps of the answer."""
        answer, clock = self._answer, self._clock
        clock.new_answer()
        for engine in (self._small, self._large):
            begin_prompt(engine, self._prompt, self._limits)
        try:
            if not self._trusts or not self._may_draft():
                yield from self._large_begins()
            while not answer.done:
                if self._trusts and self._may_draft():
                    yield from self._small_writes()
                if not answer.done:
                    step = yield from self._round()
                    clock.account(step)
                    yield step
        finally:
            clock.keep()

    def _large_begins(self) -> Iterator[Step]:
        """The large model reads the prompt and writes the first token, as in plain decoding."""
        answer, costs, meter = self._answer, self._clock.costs, self._meter
        sizes = costs.prompt_sizes(len(self._prompt) - self._large.length)
        reading = read_prompt(self._large, "large", self._prompt, self._limits, sizes)
        while True:
            try:
                step = next(reading)
            except StopIteration as end:
                scores: Scores = end.value
                break
            costs.record_prompt(step)
            yield step
        if not answer.done:
            meter.start()
            yield self._step("write", scores, 0, [])

    def _may_draft(self) -> bool:
        """Whether the small model may draft: it has read the prompt, or that will be won back."""
        answer, clock = self._answer, self._clock
        written = len(answer.sequence) - len(self._prompt)
        if clock.drafts and not self._started and not self._starting.waits(written):
            read = len(answer.sequence) - self._small.length
            forecast = clock.forecast(read=read, written=written, left=answer.room)
            self._started = forecast is not None and self._starting.weigh(forecast, written)
        return clock.drafts and self._started

    def _read_prompt(self, engine: Engine, model: Role) -> Iterator[Step]:
        """Feed the prompt to a model that has not read it."""
        if engine.length < len(self._prompt) - 1:
            with self._meter.away():
                for step in read_prompt_but_last(engine, model, self._prompt, self._limits):
                    self._clock.read(step)
                    yield step

    def _small_writes(self) -> Iterator[Step]:
        """The small model writes what it is sure of; the row of its first doubt is kept."""
        answer, meter = self._answer, self._meter
        yield from self._read_prompt(self._small, "small")
        meter.start()
        while not answer.done and len(answer.sequence) < self._small.context:
            scores = self._read_small([])
            entropy = scores.entropy(0)
            signal = Signal(entropy, self._trust)
            if entropy > self._trust:
                self._doubt = scores
                return
            self._clock.chance(entropy, trusted=True)
            token = self._limits.sampler.pick(scores, 0, len(answer.sequence))
            answer.commit([written := answer.describe(scores, 0, token, "small")])
            step = meter.step("draft", (written,), signal=signal)
            self._clock.account(step)
            yield step
            meter.start()

    def _round(self) -> Generator[Step, None, Step]:
        """A block, or one token of the large model."""
        answer, small = self._answer, self._small
        yield from self._read_prompt(self._large, "large")
        # the large model's own token follows every block
        unread, at_once = len(answer.unread(self._large)), self._large.at_once
        most = min(LONGEST, answer.room - 1, small.context - len(answer.sequence), at_once - unread)
        block = None
        if self._doubt is not None or (not self._trusts and self._may_draft()):
            block = self._clock.block(unread, most)
        if self._doubt is None:
            if block is not None:
                yield from self._read_prompt(small, "small")
            self._meter.start()
        drafts = Drafts() if block is None else self._draft(block)
        self._doubt = None
        return self._wake(drafts)

    def _draft(self, block: Block) -> Drafts:
        """The small model drafts until the block is full."""
        answer, limits, clock = self._answer, self._limits, self._clock
        made = Drafts()
        while block.waits():
            scores = self._doubt if self._doubt is not None else self._read_small(made.tokens)
            self._doubt = None
            token = limits.sampler.pick(scores, 0, len(answer.sequence) + len(made.tokens))
            probability = scores.probability(0, token)
            trusted = self._trusts and scores.entropy(0) <= self._trust
            chance = clock.chance(probability, trusted=trusted)
            if not block.waits(chance):
                made.doubted = token, probability
                break
            if trusted:
                made.trusted.add(len(made.tokens))
            made.tokens.append(answer.describe(scores, 0, token, "small", "accepted"))
            made.probabilities.append(probability)
            block.add(chance)
            if token in limits.end:
                break
        made.cut(block.best())
        return made

    def _read_small(self, drafts: Sequence[Token]) -> Scores:
        """The small model's row for the token behind `drafts`."""
        unread = [*self._answer.sequence, *(draft.id for draft in drafts)][self._small.length :]
        purpose: Purpose = "draft" if len(unread) == 1 else "catch_up"
        return self._meter.forward(self._small, "small", purpose, unread)

    def _wake(self, made: Drafts) -> Step:
        """The large model reads the block in one forward, judges it, and writes a token."""
        answer, large, costs, drafts = self._answer, self._large, self._clock.costs, made.tokens
        base, unread = len(answer.sequence), answer.unread(large)
        if not drafts:
            purpose: Purpose = "write" if len(unread) == 1 else "catch_up"
            scores = self._meter.forward(large, "large", purpose, unread)
            step = self._step("write", scores, 0, [])
            self._learn_doubted(made, scores, 0, step)
            return step
        fed = [*unread, *(draft.id for draft in drafts)]
        # a fuller forward may be the cheaper one
        most = min(large.context - large.length, max(len(fed), large.at_once))
        fill = min(costs.times.filled(len(fed)), most) - len(fed)
        fed += fed[-1:] * fill
        rows = len(drafts) + 1 + fill
        scores = self._meter.forward(large, "large", "verify", fed, rows=rows)
        ids = [draft.id for draft in drafts]
        accepted = judge_chain(ids, scores, base, self._limits, self._share, made.trusted)
        standing = len(accepted.path)
        self._clock.judged(made.probabilities, standing, made.trusted)
        step = self._step("wake", scores, standing, drafts, accepted)
        if standing == len(drafts) and accepted.token is not None:
            self._learn_doubted(made, scores, standing, step)
        return step

    def _learn_doubted(self, made: Drafts, scores: Scores, row: int, step: Step) -> None:
        """Compare a token that was too doubtful to be drafted with what the large model wrote."""
        if made.doubted is not None:
            token, probability = made.doubted
            own = token == step.tokens[-1].id
            stands = own or is_likely(token, scores, row, self._share)
            self._clock.judged([probability], int(stands))

    def _step(
        self,
        kind: Kind,
        scores: Scores,
        row: int,
        drafts: list[Token],
        accepted: Accepted | None = None,
    ) -> Step:
        """Commit the first `row` drafts and the large model's token of that row."""
        answer, meter, tree = self._answer, self._meter, TokenTree()
        written = drafts[:row]
        if accepted is None or accepted.token is not None:
            token = accepted.token if accepted is not None else None
            if token is None:
                token = self._limits.sampler.pick(scores, row, len(answer.sequence) + row)
            how: How = "written"
            if accepted is not None:
                how = "bonus" if accepted.bonus else "corrected"
            written.append(answer.describe(scores, row, token, "large", how))
        answer.commit(written)
        answer.settle(meter, self._small, "small")
        answer.settle(meter, self._large, "large")
        for draft in drafts:
            tree.add(len(tree) - 1, draft.id, draft.probability)
        refusal = self._starting.take_refusal()
        return meter.step(
            kind,
            tuple(written),
            drafted=len(drafts),
            accepted=row,
            reason=f"a block of {len(drafts)} is full" if drafts else refusal,
            plain_ms=self._clock.costs.times.plain_ms,
            detail=None if accepted is None else tree_record(tree, accepted),
        )
