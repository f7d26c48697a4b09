"""Self-speculation: the lower layers of a model draft, its upper layers verify.

Elhoushi et al. 2024, "LayerSkip: Enabling Early Exit Inference and Self-Speculative Decoding",
arXiv 2404.16710, section 4.3. A round:

    1. draft     the lowest layers, then norm and head, write token after token
    2. verify    the missing layers of all these tokens run in one batch
    3. accept    the drafts that the whole model would have written stand, and one token after them
    4. learn     the exit rule sees which drafts stood, and the states of every layer
    5. settle    the cache keeps what stands; the newest token stays unread

The keys and values of the lower layers are computed once, for drafting and verifying alike. Exact:
what the upper layers see is what a forward of the whole model would have given them. When sampling,
the draft is drawn with the seed and position of the token that it foresees, and what stands is what
the whole model draws there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass

from adec.decoding.answer import AnswerState, read_prompt, unread_of_prompt
from adec.decoding.meter import Meter
from adec.decoding.pair.accept import follow_the_target, picks, tree_record
from adec.decoding.strategy import Limits, Prompt
from adec.engines.protocols import LayerEngine
from adec.events.records import Guarantee, How, Step, Token
from adec.signals import Scores
from adec.tree import TokenTree

PLAIN_TOKENS = 3
"""Tokens that are written with all layers at first, so that a gain can be told."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a round drafts."""

    depth: int
    """Layers that draft."""
    length: int
    """Tokens drafted at most; 0 for a plain round."""


@dataclass(frozen=True, slots=True)
class Round:
    """What an exit rule learns from: a round that was verified, its states still in the engine."""

    exit: Exit
    drafts: tuple[int, ...]
    accepted: int
    scores: Scores
    """Of the whole model, after the newest token and after each draft."""
    rows: tuple[Scores, ...] = ()
    """What each draft was chosen from, a row each."""


class ExitRule(ABC):
    """At which layer a round leaves, and how long it drafts."""

    context = 0
    """Tokens at the prompt's end whose states `see_context` is to see."""

    @abstractmethod
    def start(self, engine: LayerEngine) -> None:
        """Begin a new answer."""

    def see_context(self, engine: LayerEngine, tokens: int) -> None:
        """Look at the newest `tokens` of the prompt, whose states at all depths the engine has."""
        return

    @abstractmethod
    def choose(self) -> Exit:
        """How the next round drafts."""

    def goes_on(self, row: Scores, token: int) -> bool:
        """Whether to draft on after `token`, which was chosen from `row`."""
        return True

    def learn(self, engine: LayerEngine, done: Round) -> None:
        """Look at a verified round. `engine.scores_at` gives a row a fed token for any depth."""
        return

    def account(self, step: Step) -> None:
        """Learn from what a round took."""
        return

    def account_prompt(self, step: Step) -> None:
        """Learn from what a part of the prompt took."""
        return


class SelfDraft:
    """The strategy that an exit rule makes of one model."""

    guarantee = Guarantee.EXACT

    def __init__(self, name: str, paper: str, engine: LayerEngine, rule: ExitRule) -> None:
        self.name = name
        self.paper = paper
        self._engine = engine
        self._rule = rule

    def generate(self, prompt: Prompt, limits: Limits) -> Iterator[Step]:
        """See `Strategy.generate`."""
        engine, rule = self._engine, self._rule
        answer = AnswerState(prompt, limits, engine.context)
        rule.start(engine)
        scores = yield from self._read(prompt.ids, limits)
        meter = limits.meter()
        while not answer.done and len(answer.sequence) < len(prompt.ids) + PLAIN_TOKENS:
            token = limits.sampler.pick(scores, 0, len(answer.sequence))
            record = answer.describe(scores, 0, token, "large")
            answer.commit([record])
            step = meter.step("write", (record,))
            rule.account(step)
            yield step
            meter.start()
            if not answer.done and len(answer.sequence) < len(prompt.ids) + PLAIN_TOKENS:
                scores = meter.forward(engine, "large", "write", [token])
        while not answer.done:
            meter.start()
            base, newest = len(answer.sequence), answer.sequence[-1]
            self._prepare(meter, answer, limits)
            chosen = rule.choose()
            length = min(chosen.length, answer.room - 1, engine.context - base)
            # 1. draft
            drafts: list[int] = []
            rows: list[Scores] = []
            while len(drafts) < length:
                fed = [drafts[-1] if drafts else newest]
                row = self._draft(meter, fed, chosen)
                drafts.append(limits.sampler.pick(row, 0, base + len(drafts)))
                rows.append(row)
                if drafts[-1] in limits.end or not rule.goes_on(row, drafts[-1]):
                    break
            # 2. verify
            scores = self._verify(meter, [newest, *drafts], chosen)
            # 3. accept
            tree = TokenTree.chain(drafts)
            accepted = follow_the_target(tree, picks(scores, base, limits), limits.end)
            stands = len(accepted.path)
            source = self._source(chosen)
            written: list[Token] = [
                answer.describe(row, 0, token, source, "accepted")
                for row, token in zip(rows[:stands], drafts[:stands], strict=True)
            ]
            if accepted.token is not None:
                how: How = "written"
                if drafts:
                    how = "bonus" if accepted.bonus else "corrected"
                written.append(answer.describe(scores, stands, accepted.token, "large", how))
            answer.commit(written)
            # 4. learn
            rule.learn(engine, Round(chosen, tuple(drafts), stands, scores, tuple(rows)))
            # 5. settle
            answer.settle(meter, engine, "large")
            step = meter.step(
                "wake" if drafts else "write",
                tuple(written),
                drafted=len(drafts),
                accepted=stands,
                detail=tree_record(tree, accepted) if drafts else None,
            )
            rule.account(step)
            yield step

    def _read(self, ids: Sequence[int], limits: Limits) -> Generator[Step, None, Scores]:
        """Read the prompt, its end so that the rule can see its states."""
        engine, rule = self._engine, self._rule
        count = rule.context
        if not count or unread_of_prompt(engine, ids, limits) <= count:
            reading = read_prompt(engine, "large", ids, limits)
            return (yield from watched(reading, rule.account_prompt))
        reading = read_prompt(engine, "large", ids[:-count], limits, last_rows=0)
        yield from watched(reading, rule.account_prompt)
        meter = limits.meter()
        scores = meter.read(engine, "large", ids[-count:])
        rule.see_context(engine, count)
        step = meter.step("prompt")
        rule.account_prompt(step)
        yield step
        return scores

    # ---- what another way of drafting with one model does otherwise

    def _prepare(self, meter: Meter, answer: AnswerState, limits: Limits) -> None:
        """Before a round; the engine has read all but the newest token."""
        return

    def _draft(self, meter: Meter, fed: Sequence[int], chosen: Exit) -> Scores:
        """Feed a token to what drafts; the row after it."""
        return meter.lower(self._engine, "large", fed, chosen.depth)

    def _verify(self, meter: Meter, tokens: Sequence[int], chosen: Exit) -> Scores:
        """The whole model's rows of the newest token and the drafts after it."""
        return meter.finish(self._engine, "large", tokens[-1:], len(tokens) - 1, chosen.depth)

    def _source(self, chosen: Exit) -> str:
        """Who wrote a draft."""
        return f"layer:{chosen.depth}"


def watched(
    steps: Generator[Step, None, Scores], look: Callable[[Step], None]
) -> Generator[Step, None, Scores]:
    """Pass steps on, and let each be seen before."""
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            result: Scores = end.value
            return result
        look(step)
        yield step
