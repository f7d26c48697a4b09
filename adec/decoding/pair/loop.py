"""The one loop of two models. Switching and speculation are settings of it.

    draft   the small model writes ahead
    stop    until the switch rule wants the large model
    wake    the large model reads everything that it missed, in one batched forward
    accept  trust: what was drafted is already committed (EAD)
            exact: the forward's rows judge it (speculation; Leviathan et al. 2023, arXiv 2211.17192)
    dwell   the large model writes until the rule hands back

Acceptance follows the target: at each position the token is drawn from the large model, and a draft that equals it
saves the forward. Since a draw depends on seed and position alone (`sampling.uniform`), the committed tokens are those of the large
model alone with the same seed, whatever was drafted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from adec.decoding.meter import Meter, describe
from adec.decoding.pair.acceptance import follow_the_target
from adec.decoding.pair.switching import SwitchRule
from adec.decoding.pair.verifiers import picks
from adec.decoding.prompt import read_prompt
from adec.decoding.strategy import Limits
from adec.engines.base import Engine
from adec.events.records import How, Purpose, Step, Token, TreeRecord
from adec.signals import Scores
from adec.tree import TokenTree


class PairLoop:
    """The state of one answer: what is committed, what is drafted, who has read how much.

    An engine's `length` says what it has read of `sequence`; the rest is what it must catch up on. `longest` bounds
    an unverified draft, so that a rule that never wakes the large model still shows text.
    """

    def __init__(
        self,
        small: Engine,
        large: Engine,
        rule: SwitchRule,
        *,
        verify: bool,
        longest: int,
        prompt: list[int],
        limits: Limits,
    ) -> None:
        self._small = small
        self._large = large
        self._rule = rule
        self._verify = verify
        self._longest = longest
        self._limits = limits
        self._prompt = prompt
        self._sequence = list(prompt)
        self._draft: list[Token] = []
        self._meter = Meter()
        self._scores: Scores | None = None
        self._large_row: tuple[Scores, int]
        self._why: str | None = None
        room = min(small.context, large.context) - len(prompt)
        self._last = len(prompt) + min(limits.max_tokens, room)

    def run(self) -> Iterator[Step]:
        """Yield the steps of the answer."""
        self._rule.start()
        self._large.rewind(0)
        self._scores = yield from read_prompt(
            self._small, "small", self._prompt, self._limits.chunk
        )
        while not self._done:
            yield from self._draft_phase()
            if self._done:
                return
            if self._large.length == 0 and len(self._prompt) > 1:
                # the last token of the prompt stays unread: the wake's forward needs at least one to feed
                with self._meter.away():
                    yield from read_prompt(
                        self._large, "large", self._prompt[:-1], self._limits.chunk
                    )
            yield self._wake()
            yield from self._dwell()

    @property
    def _done(self) -> bool:
        ended = len(self._sequence) > len(self._prompt) and self._sequence[-1] in self._limits.end
        return ended or len(self._sequence) >= self._last

    def _draft_phase(self) -> Iterator[Step]:
        """The small model writes until the rule stops it. Trusted tokens are committed one by one."""
        limits = self._limits
        written = 0
        self._meter.start()
        while (
            len(self._sequence) + len(self._draft) < self._last and len(self._draft) < self._longest
        ):
            position = len(self._sequence) + len(self._draft)
            scores = self._small_row()
            if self._rule.wake(scores, 0, written):
                return
            token = limits.sampler.pick(scores, 0, position)
            self._scores = None
            written += 1
            if self._verify:
                record = describe(scores, 0, token, "small", signals=limits.signals, how="accepted")
                self._draft.append(record)
                if token in limits.end:
                    return
            else:
                record = describe(scores, 0, token, "small", signals=limits.signals)
                self._sequence.append(token)
                yield self._meter.step(
                    "draft", (record,), signal=self._rule.signal, reason=self._why
                )
                self._why = None
                self._meter.start()
                if self._done:
                    return

    def _small_row(self) -> Scores:
        """The small model's row for the next token; it first reads what it has not seen."""
        if self._scores is None:
            unread = [*self._sequence, *(token.id for token in self._draft)][self._small.length :]
            purpose: Purpose = "draft" if len(unread) == 1 else "catch_up"
            self._scores = self._meter.forward(self._small, "small", purpose, unread)
        return self._scores

    def _wake(self) -> Step:
        """The large model reads what it missed and the draft, judges the draft, and writes one token."""
        large, draft = self._large, self._draft
        before = len(self._sequence)
        unread = self._sequence[large.length :]
        purpose: Purpose = "verify" if draft else "write" if len(unread) == 1 else "catch_up"
        fed = unread + [token.id for token in draft]
        scores = self._meter.forward(large, "large", purpose, fed, rows=len(draft) + 1)
        chain = TokenTree.chain(token.id for token in draft)
        verdict = follow_the_target(chain, picks(scores, before, self._limits), self._limits.end)
        accepted, token = len(verdict.path), verdict.token
        written = list(draft[:accepted])
        if token is not None:
            how: How = (
                "written" if not draft else "bonus" if accepted == len(draft) else "corrected"
            )
            written.append(self._by_large(scores, accepted, token, how))
        # a draft may fill all the room that is left; the large model's own token is then one too many
        written = written[: self._last - before]
        self._sequence += [token.id for token in written]
        self._cut()
        self._large_row = scores, accepted
        self._draft = []
        self._scores = None
        record = _chain_record(draft, accepted) if draft else None
        return self._meter.step(
            "wake",
            tuple(written),
            drafted=len(draft),
            accepted=accepted,
            signal=self._rule.signal,
            reason=self._rule.reason,
            detail=record,
        )

    def _cut(self) -> None:
        """Take back what the engines read of a draft that does not stand; the newest token stays unread."""
        for engine in (self._small, self._large):
            if engine.length >= len(self._sequence):
                engine.rewind(len(self._sequence) - 1)

    def _dwell(self) -> Iterator[Step]:
        """The large model writes on until the rule hands back."""
        written = 1
        while not self._done and not self._rule.hand_back(*self._large_row, written):
            self._meter.start()
            scores = self._meter.forward(self._large, "large", "write", self._sequence[-1:])
            token = self._limits.sampler.pick(scores, 0, len(self._sequence))
            self._sequence.append(token)
            self._large_row = scores, 0
            written += 1
            record = self._by_large(scores, 0, token, "written")
            yield self._meter.step("write", (record,), signal=self._rule.signal)
        self._why = self._rule.reason

    def _by_large(self, scores: Scores, row: int, token: int, how: How) -> Token:
        return describe(scores, row, token, "large", signals=self._limits.signals, how=how)


def _chain_record(draft: Sequence[Token], accepted: int) -> TreeRecord:
    return TreeRecord(
        tokens=tuple(token.id for token in draft),
        parents=tuple(range(-1, len(draft) - 1)),
        probabilities=tuple(token.probability for token in draft),
        accepted=tuple(range(accepted)),
    )
