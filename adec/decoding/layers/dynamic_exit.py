"""DEL: the exit layer and the draft length are chosen anew in every round.

Entezari Zarch et al. 2025, "DEL: Context-Aware Dynamic Exit Layer for Efficient Self-Speculative
Decoding", arXiv 2504.05598.

    after a round   every layer l says by norm and head which token it would have drafted at each
                    position (its *shadow token*) and how sure it is
    counts          M[l] = w M[l] + (matches, mismatches) with the whole model's tokens, C[l] the
                    same of the confidences; a[l] = matches / (matches + mismatches)
    next exit       the l and the length g of the most tokens per time:
                    (1 + a + ... + a^g) / (time of verifying + g times that of drafting at l)
    while drafting  stop where a draft is less probable than tau[l], half way between the mean
                    confidences of matches and of mismatches

What is different here: time is milliseconds of this run, of drafting at an exit and of verifying g
drafts, with norm and head, where the paper counts layers. The length that comes out bounds the
draft; the released code computes it and forgets it. Positions behind the first rejected draft are
not counted, as released. Where no exit beats one token a forward, the round is plain, and now and
then one draft keeps the counts alive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np

from adec.decoding.layers.exit_times import ExitTimes
from adec.decoding.layers.self_draft import Exit, ExitRule, Round, SelfDraft
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids
from adec.engines.pair import Engines
from adec.engines.protocols import LayerEngine
from adec.errors import UsageError
from adec.events.records import Step
from adec.signals import Scores

_MATCH, _MISS = 0, 1


class DynamicExit(ExitRule):
    """The rule of DEL."""

    def __init__(self, decay: float, longest: int, rest: int) -> None:
        self._decay = decay
        self._longest = longest
        self._rest = rest

    def start(self, engine: LayerEngine) -> None:
        """Forget the answer before."""
        self._layers = engine.info.layers
        self._times = ExitTimes(self._layers)
        self._counts = np.zeros((self._layers, 2))
        self._sure = np.zeros((self._layers, 2))
        self._exit = Exit(max(1, self._layers // 4), 1)
        self._plain_rounds = 0

    @property
    def acceptance(self) -> np.ndarray:
        """Share of positions at which each depth, from 1 on, agreed; 0 where nothing is known."""
        total = self._counts.sum(axis=1)
        share: np.ndarray = self._counts[:, _MATCH] / np.where(total > 0, total, 1)
        return share

    def choose(self) -> Exit:
        """The best exit by the counts, or a single draft after a rest."""
        if self._exit.length == 0 and self._plain_rounds >= self._rest:
            return Exit(self._exit.depth, 1)
        return self._exit

    def goes_on(self, row: Scores, token: int) -> bool:
        """Whether the draft is probable enough for its exit."""
        depth = self._exit.depth - 1
        if not self._counts[depth].all():
            return True  # nothing is known of one of the means
        tau = float((self._sure[depth] / self._counts[depth]).mean())
        return row.probability(0, token) >= tau

    def learn(self, engine: LayerEngine, done: Round) -> None:
        """Count shadow tokens, at all positions up to the first rejected draft."""
        if not done.drafts:
            return
        positions = min(done.accepted + 1, len(done.drafts))
        fed = len(done.drafts) + 1
        wanted = [done.scores.argmax(row) for row in range(positions)]
        for depth in range(1, self._layers):
            shadow = engine.scores_at(depth, rows=fed)
            seen, sure = np.zeros(2), np.zeros(2)
            for row, target in enumerate(wanted):
                token = shadow.argmax(row)
                outcome = _MATCH if token == target else _MISS
                seen[outcome] += 1
                sure[outcome] += shadow.probability(row, token)
            self._counts[depth - 1] = self._decay * self._counts[depth - 1] + seen
            self._sure[depth - 1] = self._decay * self._sure[depth - 1] + sure

    def account(self, step: Step) -> None:
        """Learn the times, and choose the next exit by them."""
        self._times.add(step)
        self._plain_rounds = 0 if step.drafted else self._plain_rounds + 1
        acceptance = self.acceptance
        best, exit_at = self._times.plain_rate(), Exit(self._exit.depth, 0)
        for depth in range(1, self._layers):
            tokens = reach = 1.0
            for length in range(1, self._longest + 1):
                reach *= acceptance[depth - 1]
                tokens += reach
                rate = tokens / self._times.round_ms(depth, length)
                if rate > best:
                    best, exit_at = rate, Exit(depth, length)
        self._exit = exit_at


@dataclass(frozen=True, slots=True)
class DelSettings:
    """`--set del.NAME=VALUE`."""

    decay: float = setting(0.95, "weight of earlier rounds in the counts (paper)", least=0, most=1)
    longest: int = setting(18, "tokens drafted at most (paper)", least=1, most=64)
    rest: int = setting(16, "plain rounds after which one draft is tried", least=1)


def build(engines: Engines, settings: DelSettings, aids: Aids) -> SelfDraft:
    """DEL on the large model. Raises UsageError where it has a single layer."""
    engine = cast(LayerEngine, engines["large"])
    if engine.info.layers < 2:
        raise UsageError(f"del: {engine.info.name} has one layer, and none to leave at before it")
    rule = DynamicExit(settings.decay, settings.longest, settings.rest)
    return SelfDraft("del", "arXiv 2504.05598", engine, rule)
