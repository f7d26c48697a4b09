"""Draft and verify: a drafter writes a tree ahead, one forward of the large model judges it whole.

A round has five steps (Leviathan et al. 2023, arXiv 2211.17192; trees: SpecInfer, arXiv
2305.09781):

    1. propose   the chooser's drafter writes a tree after what is committed, or nothing
    2. verify    the large model reads the newest token and the tree in one forward
    3. accept    the verifier finds the path that stands, and the large model's token after it
    4. settle    caches keep what stands; the newest token stays unread
    5. learn     drafters and chooser see the rows, and what the round cost

A round without a proposal is a plain step. Ten recipes are made of this loop: each is a chooser
(who drafts, and how far) and a verifier (what stands, `accept.py`).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

from adec.decoding.answer import AnswerState, begin_prompt, read_prompt
from adec.decoding.pair.accept import Verifier, tree_record
from adec.decoding.pair.draft_chooser import DraftChooser, Turn
from adec.decoding.pair.drafters.drafter import Accepted, Outcome, Proposal, empty
from adec.decoding.pair.drafters.growth import Room
from adec.decoding.strategy import Limits, Prompt
from adec.engines.base import Engine
from adec.events.records import Guarantee, How, Kind, Purpose, Signal, Step, Token
from adec.signals import Scores
from adec.tree import ROOT

NODES = 256
"""Nodes of a tree at most: well within what every backend takes in one batch."""


class DraftVerify:
    """The strategy that a chooser and a verifier make."""

    def __init__(
        self,
        name: str,
        paper: str | None,
        large: Engine,
        chooser: DraftChooser,
        verifier: Verifier,
    ) -> None:
        self.name = name
        self.paper = paper
        self.chooser = chooser
        self.large = large
        self.verifier = verifier

    @property
    def guarantee(self) -> Guarantee:
        return self.verifier.guarantee

    def generate(self, prompt: Prompt, limits: Limits) -> Iterator[Step]:
        """See `Strategy.generate`."""
        try:
            yield from _Rounds(self, prompt, limits).run()
        finally:
            self.chooser.finish()


class _Rounds:
    """The rounds of one answer."""

    def __init__(self, strategy: DraftVerify, prompt: Prompt, limits: Limits) -> None:
        self._large = large = strategy.large
        self._chooser = strategy.chooser
        self._verifier = verifier = strategy.verifier
        self._prompt = prompt.ids
        self._limits = limits
        self._answer = AnswerState(prompt, limits, large.context)
        self._meter = limits.meter()
        self._branching = "tree" in large.capabilities and not verifier.chains_only

    def run(self) -> Iterator[Step]:
        """Yield the steps of the answer."""
        answer, chooser = self._answer, self._chooser
        bitwise = self._limits.bitwise
        early = not bitwise and chooser.drafts_early(self._prompt, self._limits)
        yield from self._begin_with_draft() if early else self._begin()
        while not answer.done:
            yield from chooser.before_round(answer.sequence, answer.room)
            rest = chooser.rest()
            if rest:
                yield from self._plain_rounds(rest)
            else:
                yield self._round()

    def _round(self) -> Step:
        self._meter.start()
        # 1. propose
        unread = self._answer.unread(self._large)
        proposal = self._chooser.propose(self._turn(unread))
        return self._judge(proposal, unread)

    def _plain_rounds(self, most: int) -> Iterator[Step]:
        """Rounds without drafts, in which nobody is asked: on a small model asking would show."""
        answer, chooser, meter, proposal = self._answer, self._chooser, self._meter, empty()
        first, steps = len(answer.sequence), list[Step]()
        reason, plain_ms = chooser.reason, chooser.plain_ms
        for left in reversed(range(most)):
            meter.start()
            base = len(answer.sequence)
            scores = self._verify(proposal, answer.unread(self._large))
            accepted = self._verifier.judge(proposal, scores, base, self._limits)
            written = self._written(proposal, scores, accepted)
            answer.commit(written)
            last = left == 0 or answer.done
            if last:
                chooser.learn(Outcome(proposal, accepted, answer.sequence, first, scores, meter))
            steps.append(meter.step("write", tuple(written), reason=reason, plain_ms=plain_ms))
            reason = None
            if last:
                chooser.account_rest(steps)
            yield steps[-1]
            if last:
                return

    def _judge(self, proposal: Proposal, unread: Sequence[int]) -> Step:
        """Steps 2 to 5 of a round."""
        answer, chooser, base = self._answer, self._chooser, len(self._answer.sequence)
        # 2. verify
        scores = self._verify(proposal, unread)
        # 3. accept
        accepted = self._verifier.judge(proposal, scores, base, self._limits)
        written = self._written(proposal, scores, accepted)
        answer.commit(written)
        # 4. settle
        if len(proposal) and not proposal.tree.is_chain:
            self._large.keep([*range(len(unread)), *(node + len(unread) for node in accepted.path)])
        answer.settle(self._meter, self._large, "large")
        # 5. learn
        chooser.learn(Outcome(proposal, accepted, answer.sequence, base, scores, self._meter))
        kind: Kind = "wake" if len(proposal) else "write"
        step = self._meter.step(
            kind,
            tuple(written),
            drafted=len(proposal),
            accepted=len(accepted.path),
            detail=tree_record(proposal.tree, accepted) if len(proposal) else None,
            signal=None if proposal.signal is None else Signal(*proposal.signal),
            reason=proposal.stop or chooser.reason,
            plain_ms=chooser.plain_ms,
        )
        chooser.account(step)
        return step

    def _turn(self, unread: Sequence[int], most: int = NODES) -> Turn:
        """`most`: nodes that the forward has room for."""
        answer = self._answer
        large = self._large
        held = large.context - len(answer.sequence)
        nodes = max(0, min(most, held, large.at_once - len(unread)))
        leaves = large.branches if self._branching else 1
        # a token of the large model's own follows every path
        room = Room(nodes=nodes, leaves=leaves, depth=answer.room - 1)
        return Turn(answer.sequence, room, len(unread), self._meter)

    def _verify(self, proposal: Proposal, unread: Sequence[int]) -> Scores:
        """The large model's rows after the trunk's end and after every node, in one forward.

        Where a fuller forward is the cheaper one, tokens that nobody judges are added at the end.
        """
        large, tree, meter = self._large, proposal.tree, self._meter
        if len(tree) == 0:
            purpose: Purpose = "write" if len(unread) == 1 else "catch_up"
            return meter.forward(large, "large", purpose, unread)
        size = len(unread) + len(tree)
        most = min(large.context - large.length, max(size, large.at_once))
        fill = min(self._chooser.filled(size), most) - size
        if tree.is_chain:
            fed = [*unread, *tree.tokens]
            fed += fed[-1:] * fill
            prompt = max(0, len(self._prompt) - large.length)
            return meter.forward(
                large, "large", "verify", fed, rows=len(tree) + 1 + fill, prompt=prompt
            )
        whole = tree.below(unread)
        for _ in range(fill):
            whole.add(len(whole) - 1, whole.tokens[-1], 0.0)
        return meter.forward_tree(large, "large", "verify", whole, first_row=len(unread) - 1)

    def _written(self, proposal: Proposal, scores: Scores, accepted: Accepted) -> list[Token]:
        """Records of the accepted drafts and of the token after them.

        A small model's draft is described by that model's row, any other by the large model's.
        """
        answer = self._answer
        written: list[Token] = []
        above = ROOT
        for node in accepted.path:
            rows, row = proposal.rows.get(above, (scores, above + 1))
            token, source = proposal.tree.tokens[node], proposal.sources[node]
            written.append(answer.describe(rows, row, token, source, "accepted"))
            above = node
        if accepted.token is not None:
            how: How = (
                "written" if not len(proposal) else "bonus" if accepted.bonus else "corrected"
            )
            written.append(answer.describe(scores, above + 1, accepted.token, "large", how))
        return written

    # ---- how an answer begins

    def _begin(self) -> Iterator[Step]:
        """Read the prompt and write the first token; the drafters start only then."""
        chooser = self._chooser
        begin_prompt(self._large, self._prompt, self._limits)
        sizes = chooser.timed_sizes(len(self._prompt) - self._large.length)
        scores = yield from self._read(self._prompt, sizes)
        if self._answer.done:
            return
        step, outcome = self._first_token(scores)
        yield step
        if self._answer.done:
            return
        yield from chooser.start(self._prompt, self._limits)
        chooser.learn(outcome)

    def _begin_with_draft(self) -> Iterator[Step]:
        """The same with a first draft behind the prompt, where that pays.

        The last forward over the prompt is made in any case, and a few drafts more in it cost less
        than a round of their own.
        """
        large, chooser, prompt, meter = self._large, self._chooser, self._prompt, self._meter
        yield from chooser.start(prompt, self._limits)
        begin_prompt(large, prompt, self._limits)
        held, chunk = large.length, self._limits.chunk
        whole = held + (len(prompt) - 1 - held) // chunk * chunk
        if whole > held:
            yield from self._read(prompt[:whole])
        if self._answer.done:
            return
        meter.start()
        unread = prompt[whole:]
        # one batch, as large as those that the engine was opened for
        turn = self._turn(unread, min(NODES, self._limits.chunk - len(unread)))
        proposal = chooser.first_draft(turn.as_chain())
        if len(proposal):
            yield self._judge(proposal, unread)
            return
        scores = meter.forward(large, "large", "prompt", unread)
        yield meter.step("prompt")
        step, outcome = self._first_token(scores)
        yield step
        chooser.learn(outcome)

    def _read(self, ids: Sequence[int], timed: Sequence[int] = ()) -> Generator[Step, None, Scores]:
        reading = read_prompt(self._large, "large", ids, self._limits, timed)
        try:
            while True:
                step = next(reading)
                self._chooser.read(step)
                yield step
        except StopIteration as end:
            scores: Scores = end.value
            return scores

    def _first_token(self, scores: Scores) -> tuple[Step, Outcome]:
        """The token that the prompt's last row gives, as in plain decoding."""
        self._meter.start()
        base, proposal = len(self._answer.sequence), empty()
        accepted = self._verifier.judge(proposal, scores, base, self._limits)
        written = self._written(proposal, scores, accepted)
        self._answer.commit(written)
        step = self._meter.step("write", tuple(written))
        sequence = self._answer.sequence
        return step, Outcome(proposal, accepted, sequence, base, scores, self._meter)
