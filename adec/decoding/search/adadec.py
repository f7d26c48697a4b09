"""AdaDec: pause where the model is unsure, look ahead of its likeliest tokens, write the best.

He et al. 2025, "AdaDec: A Uncertainty-Guided Lookahead Framework for LLM-based Code Generation",
arXiv 2506.08980. The score of a candidate is the paper's: the mean log-probability of the token and
of its greedy look-ahead, the latter with a weight.

What is different here, against the released code: candidates share one cache, with a forward a
level, where the release reads everything anew. A candidate that has ended collects neither
log-probability nor length (the release goes on adding to its sum alone). The winner's look-ahead is
committed up to where the next pause would be, which changes no token and saves the forwards. An
answer ends at an end token; the release also looks for the end of a code block in the text.

`split` is ours: the small model of a pair looks ahead, and one forward of the large model judges it
all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from adec.decoding.answer import AnswerState, begin_prompt, read_prompt, read_prompt_but_last
from adec.decoding.search.looking import Branch, RowAt, log_of, look_ahead
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids, Limits, Prompt, engine_for
from adec.engines.base import Engine
from adec.engines.pair import Engines
from adec.events.records import Candidate, Guarantee, How, Pause, Role, Signal, Step
from adec.signals import Scores, compared
from adec.tree import TokenTree

BATCH = 256
"""Tokens at most that are read in one forward with a tree; more are read before it."""


@dataclass(frozen=True, slots=True)
class AdaDecSettings:
    """`--set adadec.NAME=VALUE`.

    Three candidates and five tokens are the paper's; its thresholds lie between 0.6 and 1.3.
    """

    threshold: float = setting(
        1.0, "nats of entropy from which on it pauses", least=0, per_writer=True
    )
    candidates: int = setting(3, "likeliest tokens that are looked into", least=1, most=8)
    ahead: int = setting(5, "tokens looked ahead at most; 0: never pause", least=0, most=32)
    weight: float = setting(
        1.0, "of the look-ahead's log-probabilities against the candidate's own", least=0, most=100
    )
    keep: bool = setting(True, "commit the winner's look-ahead as far as it is sure")
    model: Literal["large", "small"] = setting("large", "which model of a pair writes")
    split: bool = setting(
        False, "ours: the small model looks ahead, the large one judges; needs a pair"
    )


class AdaDec:
    """AdaDec on one model, or on a pair with the small one looking ahead."""

    name = "adadec"
    guarantee = Guarantee.APPROXIMATE

    def __init__(self, engines: Engines, settings: AdaDecSettings, aids: Aids) -> None:
        """Raises UsageError when a setting asks for a small model that is not there."""
        if settings.split or settings.model == "small":
            engine_for(engines, "small", f"adadec.{'split' if settings.split else 'model=small'}")
        self._engines = engines
        self._settings = settings

    @property
    def paper(self) -> str | None:
        """None for our own variant."""
        return None if self._settings.split else "arXiv 2506.08980"

    def generate(self, prompt: Prompt, limits: Limits) -> Iterator[Step]:
        """See `Strategy.generate`."""
        return _Answer(self._engines, self._settings, prompt, limits).run()


class _Answer:
    """One answer. When a token is decided, by row `_at`, the writer has read all before it."""

    def __init__(
        self, engines: Engines, settings: AdaDecSettings, prompt: Prompt, limits: Limits
    ) -> None:
        small, large = engines.get("small"), engines["large"]
        self._large = large
        self._small_writes = settings.model == "small"
        self._role: Role = settings.model
        self._writer = small if self._small_writes and small is not None else large
        # for `split` alone: it judges what the small model writes, or looks ahead for the large one
        self._other: Engine | None = None
        if settings.split:
            self._other = large if self._small_writes else small
        self._looker = self._writer if self._small_writes else self._other or self._writer
        self._settings = settings
        self._prompt = prompt.ids
        self._limits = limits
        self._context = engines.context if settings.split else self._writer.context
        self._answer = AnswerState(prompt, limits, self._context)
        self._meter = limits.meter()
        self._at: RowAt | None = None

    def run(self) -> Iterator[Step]:
        """Yield the steps of the answer."""
        chosen, meter = self._settings, self._meter
        if self._other is not None:
            begin_prompt(self._other, self._prompt, self._limits)
        scores = yield from read_prompt(self._writer, self._role, self._prompt, self._limits)
        self._at = scores, 0
        while not self._answer.done:
            meter.start()
            scores, row = self._at or self._read_newest()
            entropy = scores.entropy(row)
            if entropy < chosen.threshold or self._depth == 0:
                yield self._write((scores, row), entropy)
                continue
            if self._other is not None and self._other.length < len(self._prompt) - 1:
                # its first pause: it reads the prompt, all but the last token, in steps of its own
                yield meter.step("write")
                role: Role = "large" if self._small_writes else "small"
                yield from read_prompt_but_last(self._other, role, self._prompt, self._limits)
                meter.start()
            yield self._pause((scores, row), entropy)

    @property
    def _depth(self) -> int:
        """Tokens to look ahead, as far as the context has room."""
        room = (self._context - len(self._answer.sequence)) // self._settings.candidates
        return min(self._settings.ahead, room)

    def _read_newest(self) -> RowAt:
        return self._meter.forward(self._writer, self._role, "write", self._answer.sequence[-1:]), 0

    def _write(self, at: RowAt, entropy: float) -> Step:
        """The sampler's token, as in plain decoding."""
        answer = self._answer
        token = self._limits.sampler.pick(*at, len(answer.sequence))
        record = answer.describe(*at, token, self._role)
        answer.sequence.append(token)
        self._at = None
        signal = Signal(entropy, self._settings.threshold)
        return self._meter.step("write", (record,), signal=signal)

    def _pause(self, at: RowAt, entropy: float) -> Step:
        """Look into the candidates; write the best one and its look-ahead, as far as it is sure."""
        answer, limits, threshold = self._answer, self._limits, self._settings.threshold
        stem, tree, branches = self._look(at)
        judged = None if self._other is None else self._judge(len(stem), tree, branches, at)
        scores = [branch.score(self._settings.weight) for branch in branches]
        winner = max(range(len(branches)), key=scores.__getitem__)
        best = branches[winner]
        how: How = "chosen" if winner else "written"
        written = [answer.describe(*at, best.tokens[0], self._role, how)]
        base = len(answer.sequence)
        if self._settings.keep:
            for token, row in zip(best.tokens[1:], best.rows, strict=True):
                place = base + len(written)
                sure = row[0].entropy(row[1]) < threshold
                full = len(written) >= answer.room
                if not sure or full or limits.sampler.pick(*row, place) != token:
                    break
                written.append(answer.describe(*row, token, self._role))
        count = len(written)
        answer.commit(written)
        self._settle(tree, len(stem), judged, best, count)
        self._at = best.rows[count - 1] if count <= len(best.rows) else None
        return self._meter.step(
            "pause",
            tuple(written),
            signal=Signal(entropy, threshold),
            reason=f"entropy {compared(entropy, '>=', threshold)} nats",
            detail=Pause(
                tuple(
                    Candidate(tuple(b.tokens), b.probability, score)
                    for b, score in zip(branches, scores, strict=True)
                ),
                winner,
                count - 1,
            ),
        )

    def _look(self, at: RowAt) -> tuple[list[int], TokenTree, list[Branch]]:
        """(stem, tree, branches) of the look-ahead, by the small model if roles are split."""
        chosen, looker = self._settings, self._looker
        role: Role = self._role if self._other is None else "small"
        stem = [] if looker is self._writer else self._unread(looker, role)

        def read(tree: TokenTree, known: int, first: int) -> Scores:
            return self._meter.forward_tree(
                looker, role, "look_ahead", tree, first_row=first, known=known
            )

        tree, branches = look_ahead(
            at, chosen.candidates, self._depth, self._limits.end, read, stem
        )
        return stem, tree, branches

    def _judge(self, stem: int, tree: TokenTree, branches: list[Branch], at: RowAt) -> int:
        """Score the branches by the large model; returns the number of tokens read before them.

        If the large model writes, its rows replace the small one's: what is kept must be what it
        would write.
        """
        large = self._large
        unread = self._unread(large, "large") if self._small_writes else []
        comb = TokenTree(tree.tokens[stem:], [parent - stem for parent in tree.parents[stem:]])
        before: RowAt = at
        rows: Scores = at[0]
        if unread or len(comb):
            first = max(0, len(unread) - 1)
            rows = self._meter.forward_tree(
                large, "large", "verify", comb.below(unread), first_row=first
            )
            before = (rows, 0) if unread else at
        shift = len(unread) - max(0, len(unread) - 1) - stem
        for branch in branches:
            after = [(rows, node + shift) for node in branch.nodes]
            branch.logs = [
                log_of(scores.probability(row, token))
                for (scores, row), token in zip([before, *after], branch.tokens, strict=True)
            ]
            if not self._small_writes:
                branch.rows = after
        return len(unread)

    def _unread(self, engine: Engine, role: Role) -> list[int]:
        """What the other model must read together with the tree; anything longer is read here."""
        unread = self._answer.unread(engine)
        if len(unread) > BATCH:
            self._meter.forward(engine, role, "catch_up", unread[:-1], rows=0)
            unread = unread[-1:]
        return unread

    def _settle(
        self, tree: TokenTree, stem: int, judged: int | None, best: Branch, count: int
    ) -> None:
        """Keep in the caches what was committed: the first `count` tokens of `best`."""
        looker = self._looker
        if len(tree) > stem:
            looker.keep([*range(stem), *best.nodes[:count]])
        if judged is None or judged + len(tree) == stem:
            return
        # a judge that does not write leaves the newest token unread: its next forward needs one to
        # feed
        kept = best.nodes[: count - 1 if self._small_writes else count]
        path = [*range(judged), *(node - stem + judged for node in kept)]
        self._large.keep(path)
