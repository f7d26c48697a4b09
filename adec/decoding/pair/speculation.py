"""Speculation: a drafter writes a tree ahead, one forward of the large model judges it whole.

    propose   the planner's drafter writes a tree after what is committed, or nothing
    wake      the large model reads the newest token and the tree, in one forward
    accept    the verifier finds the path that stands and the token after it
    learn     drafter and planner see the rows and what the round cost

A round without a proposal is a plain step. A first draft may ride along with the forward that reads the end of the prompt. After every step each engine's cache is a prefix of what is committed, the
newest token unread.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from adec.decoding.meter import Meter, describe
from adec.decoding.pair.acceptance import Verdict
from adec.decoding.pair.costs import CostCurve
from adec.decoding.pair.drafters.drafter import Outcome, Proposal, empty
from adec.decoding.pair.drafters.small_model import behind
from adec.decoding.pair.growth import Room
from adec.decoding.pair.measuring import at_first_use
from adec.decoding.pair.planner import Clocked, Early, Planner
from adec.decoding.pair.verifiers import Verifier
from adec.decoding.prompt import read_prompt
from adec.decoding.strategy import Limits
from adec.engines.base import Engine
from adec.events.records import Guarantee, How, Kind, Purpose, Signal, Step, Token, TreeRecord
from adec.signals import Scores
from adec.tree import ROOT

NODES = 256
"""Nodes of a tree at most: well within what every backend takes in one batch."""


class Speculation:
    """One answer."""

    def __init__(
        self, large: Engine, planner: Planner, verifier: Verifier, prompt: list[int], limits: Limits
    ) -> None:
        self._large = large
        self._planner = planner
        self._verifier = verifier
        self._prompt = prompt
        self._limits = limits
        self._sequence = list(prompt)
        self._last = len(prompt) + min(limits.max_tokens, large.context - len(prompt))
        branching = "tree" in large.capabilities and not verifier.chains_only
        self._leaves = large.branches if branching else 1
        self._meter = Meter()

    def run(self) -> Iterator[Step]:
        """Yield the steps of the answer."""
        large, prompt, planner = self._large, self._prompt, self._planner
        if isinstance(planner, Early) and planner.early:
            yield from planner.start(prompt, self._limits)
            yield from self._begin(planner)
        else:
            scores = yield from read_prompt(large, "large", prompt, self._limits.chunk)
            if self._done:
                return
            first, outcome = self._first(scores)
            yield first
            if self._done:
                return
            yield from planner.start(prompt, self._limits)
            planner.learn(outcome)
        while not self._done:
            yield self._round()

    @property
    def _done(self) -> bool:
        ended = len(self._sequence) > len(self._prompt) and self._sequence[-1] in self._limits.end
        return ended or len(self._sequence) >= self._last

    def _begin(self, planner: Early) -> Iterator[Step]:
        """Read the prompt, with a first draft behind it where that pays.

        The prompt's last forward takes what it takes; a few drafts more in it cost less than a round of their own.
        """
        large, prompt, meter = self._large, self._prompt, self._meter
        whole = (len(prompt) - 1) // self._limits.chunk * self._limits.chunk
        large.rewind(0)
        if whole:
            yield from read_prompt(large, "large", prompt[:whole], self._limits.chunk)
        if self._done:
            return
        meter.start()
        unread = prompt[whole:]
        room = self._room(leaves=1)
        # one batch as large as those that the engine was opened for
        room = replace(room, nodes=min(room.nodes, self._limits.chunk - len(unread)))
        proposal = planner.ahead(self._sequence, room, len(unread), meter)
        if len(proposal):
            yield self._judged(proposal, unread)
            return
        scores = meter.forward(large, "large", "prompt", unread)
        yield meter.step("prompt")
        first, outcome = self._first(scores)
        yield first
        self._planner.learn(outcome)

    def _first(self, scores: Scores) -> tuple[Step, Outcome]:
        """The first token, which the prompt's last row gives, as in plain decoding."""
        self._meter.start()
        base, proposal = len(self._sequence), empty()
        verdict = self._verifier.judge(proposal, scores, base, self._limits)
        written = self._written(proposal, scores, verdict)
        self._sequence += [token.id for token in written]
        step = self._meter.step("write", tuple(written))
        return step, Outcome(proposal, verdict, self._sequence, base, scores)

    def _round(self) -> Step:
        self._meter.start()
        unread = self._sequence[self._large.length :]
        room = self._room(self._leaves)
        proposal = self._planner.propose(self._sequence, room, len(unread), self._meter)
        return self._judged(proposal, unread)

    def _room(self, leaves: int) -> Room:
        base = len(self._sequence)
        nodes = min(NODES, self._large.context - base)
        return Room(nodes=nodes, leaves=leaves, depth=self._last - base - 1)

    def _judged(self, proposal: Proposal, unread: list[int]) -> Step:
        """Verify a proposal, commit what stands, and let everyone learn from it."""
        sequence, base = self._sequence, len(self._sequence)
        scores = self._verify(proposal, unread)
        verdict = self._verifier.judge(proposal, scores, base, self._limits)
        written = self._written(proposal, scores, verdict)
        sequence += [token.id for token in written]
        self._settle(proposal, verdict, len(unread))
        self._planner.learn(Outcome(proposal, verdict, sequence, base, scores))
        kind: Kind = "wake" if len(proposal) else "write"
        step = self._meter.step(
            kind,
            tuple(written),
            drafted=len(proposal),
            accepted=len(verdict.path),
            detail=_record(proposal, verdict) if len(proposal) else None,
            signal=None if proposal.signal is None else Signal(*proposal.signal),
            reason=proposal.stop or self._planner.reason,
            plain_ms=self._planner.plain_ms,
        )
        self._planner.account(step)
        return step

    def _verify(self, proposal: Proposal, unread: list[int]) -> Scores:
        """The large model's rows after the trunk's end and after every node, in one forward.

        Where a fuller forward is the cheaper one, tokens that nobody judges come last.
        """
        large, tree, meter = self._large, proposal.tree, self._meter
        if len(tree) == 0:
            purpose: Purpose = "write" if len(unread) == 1 else "catch_up"
            return meter.forward(large, "large", purpose, unread)
        asked = len(unread) + len(tree)
        fill = min(self._planner.filled(asked), large.context - large.length) - asked
        if tree.is_chain:
            fed = [*unread, *tree.tokens]
            fed += fed[-1:] * fill
            prompt = max(0, len(self._prompt) - large.length)
            return meter.forward(
                large, "large", "verify", fed, rows=len(tree) + 1 + fill, prompt=prompt
            )
        whole = behind(unread, tree)
        for _ in range(fill):
            whole.add(len(whole) - 1, whole.tokens[-1], 0.0)
        return meter.forward_tree(large, "large", "verify", whole, first_row=len(unread) - 1)

    def _settle(self, proposal: Proposal, verdict: Verdict, unread: int) -> None:
        """Keep what stands in the large model's cache; the newest token stays unread."""
        large = self._large
        if len(proposal) and not proposal.tree.is_chain:
            large.keep([*range(unread), *(node + unread for node in verdict.path)])
        if large.length >= len(self._sequence):
            large.rewind(len(self._sequence) - 1)

    def _written(self, proposal: Proposal, scores: Scores, verdict: Verdict) -> list[Token]:
        """Records of the accepted drafts and of the token after them.

        A draft of a small model is described by that model's row; one of a drafter without rows by the large model's.
        """
        signals = self._limits.signals
        written: list[Token] = []
        above = ROOT
        for node in verdict.path:
            rows, row = proposal.rows.get(above, (scores, above + 1))
            token, source = proposal.tree.tokens[node], proposal.sources[node]
            written.append(describe(rows, row, token, source, signals=signals, how="accepted"))
            above = node
        if verdict.token is not None:
            how: How = "written" if not len(proposal) else "bonus" if verdict.bonus else "corrected"
            written.append(
                describe(scores, above + 1, verdict.token, "large", signals=signals, how=how)
            )
        return written


class Speculating:
    """A strategy made of a planner and a verifier: what every recipe of this family is."""

    def __init__(
        self,
        name: str,
        paper: str | None,
        large: Engine,
        planner: Planner,
        verifier: Verifier,
    ) -> None:
        self.name = name
        self.paper = paper
        self.planner = planner
        self._large = large
        self._verifier = verifier

    @property
    def guarantee(self) -> Guarantee:
        return self._verifier.guarantee

    @property
    def is_measured(self) -> bool:
        """See `Clocked`; a planner that does not look at the clock needs no curve."""
        return not isinstance(self.planner, Clocked) or self.planner.is_measured

    def measured(self, curve: CostCurve, small: CostCurve | None = None) -> None:
        """See `Clocked`; a planner that does not look at the clock has no use for it."""
        if isinstance(self.planner, Clocked):
            self.planner.measured(curve, small)

    def generate(self, prompt: list[int], limits: Limits) -> Iterator[Step]:
        """See `Strategy.generate`."""
        yield from at_first_use(self, self._large)
        yield from Speculation(self._large, self.planner, self._verifier, prompt, limits).run()


def _record(proposal: Proposal, verdict: Verdict) -> TreeRecord:
    tree = proposal.tree
    return TreeRecord(
        tokens=tuple(tree.tokens),
        parents=tuple(tree.parents),
        probabilities=tuple(tree.probabilities),
        accepted=verdict.path,
    )
