"""Strategies replayed on records: what they would have done on the large model's path, and what that would have taken.

Greedy only. A strategy that writes another token than the large model leaves the recorded path, and the replay of that answer stops there: what
follows is unknown, and `Replay.left` says so. Exact strategies never leave it. Times come from measured cost curves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adec.calibration.signals import Column, Record
from adec.decoding.pair.acceptance import Verdict
from adec.decoding.pair.adaedl import AdaEdlSettings
from adec.decoding.pair.costs import Curves
from adec.decoding.pair.drafters.drafter import Outcome, Proposal
from adec.decoding.pair.ead import EadSettings
from adec.decoding.pair.rates import expected_tokens
from adec.decoding.pair.stops import EntropyBoundStop
from adec.decoding.pair.switching import EntropyRule
from adec.signals import Row
from adec.tree import TokenTree


@dataclass
class Replay:
    """Sums over one or many answers."""

    answers: int = 0
    left: int = 0
    """Answers whose path was left."""
    tokens: int = 0
    """Tokens that the answers have."""
    replayed: int = 0
    """Tokens up to where paths were left."""
    large_tokens: int = 0
    wakes: int = 0
    ms: float = 0.0
    """Forward times of the replayed part."""
    steps: int = 0
    """Steps of the strategy, each of which takes some time of its own."""

    def __add__(self, other: Replay) -> Replay:
        return Replay(
            self.answers + other.answers,
            self.left + other.left,
            self.tokens + other.tokens,
            self.replayed + other.replayed,
            self.large_tokens + other.large_tokens,
            self.wakes + other.wakes,
            self.ms + other.ms,
            self.steps + other.steps,
        )

    def ms_per_token(self, own_ms: float) -> float:
        """Milliseconds a token, with `own_ms` for each step."""
        return (self.ms + own_ms * self.steps) / max(1, self.replayed)

    @property
    def least(self) -> float:
        """Agreement if everything after a path was left differs."""
        return self.replayed / max(1, self.tokens)

    @property
    def most(self) -> float:
        """Agreement if only the one token differs at which a path was left."""
        return 1 - self.left / max(1, self.tokens)


class Entropies:
    """A column where a switching rule wants rows of logits; it asks for nothing but entropies."""

    def __init__(self, column: Column) -> None:
        self._values: list[float] = column.tolist()

    def __len__(self) -> int:
        return len(self._values)

    def entropy(self, index: int) -> float:
        return self._values[index]

    def row(self, index: int) -> Row:
        raise NotImplementedError("a record keeps no logits")

    def argmax(self, index: int) -> int:
        raise NotImplementedError("a record keeps no logits")

    def top(self, index: int, count: int) -> list[tuple[int, float]]:
        raise NotImplementedError("a record keeps no logits")

    def margin(self, index: int) -> float:
        raise NotImplementedError("a record keeps no logits")

    def probability(self, index: int, token: int) -> float:
        raise NotImplementedError("a record keeps no logits")


def replay_ead(records: Sequence[Record], settings: EadSettings, curves: Curves) -> Replay:
    """EAD that trusts its drafts, by the very rule that a run uses."""
    rule = EntropyRule(
        up=settings.up,
        down=settings.up if settings.down is None else settings.down,
        window=settings.window,
        dwell=settings.dwell,
        reset=settings.reset,
    )
    total = Replay()
    for record in records:
        total += _ead(record, rule, curves)
    return total


def _ead(record: Record, rule: EntropyRule, curves: Curves) -> Replay:
    assert curves.small is not None
    small_ms, large_ms = curves.small.ms, curves.large.ms
    small, large = Entropies(record.small_entropy), Entropies(record.large_entropy)
    agrees = record.agrees.tolist()
    count = len(record)
    result = Replay(answers=1, tokens=count)
    rule.start()
    # tokens of the answer that each model has read; the large one reads the prompt's last token when it wakes
    here, small_read, large_read = 0, 0, -1
    while here < count:
        written = 0
        while here < count:
            if here > small_read:
                result.ms += small_ms(here - small_read)
                small_read = here
            if rule.wake(small, here, written):
                break
            result.steps += 1
            if not agrees[here]:
                result.left, result.replayed = 1, here
                return result
            here, written = here + 1, written + 1
        if here >= count:
            break
        result.ms += large_ms(here - large_read)
        large_read, here, written = here, here + 1, 1
        result.wakes += 1
        result.large_tokens += 1
        result.steps += 1
        while here < count and not rule.hand_back(large, here - 1, written):
            result.ms += large_ms(1)
            large_read, here, written = here, here + 1, written + 1
            result.large_tokens += 1
            result.steps += 1
    result.replayed = count
    return result


def replay_chain(
    records: Sequence[Record],
    drafts: int,
    curves: Curves,
    *,
    defers: Sequence[Sequence[bool]] | None = None,
) -> Replay:
    """Chains of `drafts` tokens of the small model, judged by the large one.

    `defers`: a row a record; where it is false the small model's token stands whatever the large one says (speculative
    cascades). None: the large model always decides, which is exact.
    """
    total = Replay()
    for index, record in enumerate(records):
        total += _chain(record, drafts, curves, None if defers is None else defers[index])
    return total


def _chain(record: Record, drafts: int, curves: Curves, defers: Sequence[bool] | None) -> Replay:
    assert curves.small is not None
    agrees = record.agrees.tolist()
    count = len(record)
    # the first token comes with the prompt
    result = Replay(answers=1, tokens=count, replayed=min(1, count), large_tokens=min(1, count))
    here, small_read = 1, -1
    while here < count:
        length = min(drafts, count - here - 1)
        if length > 0:
            result.ms += curves.small.ms(here - small_read) + (length - 1) * curves.small.ms(1)
        result.ms += curves.large.ms(length + 1)
        result.steps += 1
        result.wakes += 1
        accepted = 0
        while accepted < length:
            place = here + accepted
            if not agrees[place]:
                if defers is not None and not defers[place]:
                    result.left, result.replayed = 1, place
                    return result
                break
            accepted += 1
        small_read = here + max(0, min(accepted, length - 1)) if length else small_read
        here = min(count, here + accepted + 1)
        result.large_tokens += 1
    result.replayed = count
    return result


def replay_adaedl(records: Sequence[Record], settings: AdaEdlSettings, curves: Curves) -> Replay:
    """AdaEDL by its own stop rule. After a wrong draft, rows of the path stand in for those off it, which are not recorded."""
    total = Replay()
    for record in records:
        total += _adaedl(record, settings, curves)
    return total


def _adaedl(record: Record, settings: AdaEdlSettings, curves: Curves) -> Replay:
    assert curves.small is not None
    rule = EntropyBoundStop(settings.gamma, settings.start, settings.target, settings.step)
    scores = Entropies(record.small_entropy)
    agrees = record.agrees.tolist()
    count = len(record)
    result = Replay(answers=1, tokens=count, replayed=count, large_tokens=min(1, count))
    here, read = 1, -1
    while here < count:
        most = min(settings.longest, count - here - 1)
        length = 0
        while length < most and not rule.stops(scores, here + length, length):
            length += 1
        accepted = 0
        while accepted < length and agrees[here + accepted]:
            accepted += 1
        looked = min(most, length + 1)
        if looked:
            result.ms += curves.small.ms(here - read) + (looked - 1) * curves.small.ms(1)
            read = here + min(accepted, looked - 1)
        result.ms += curves.large.ms(length + 1)
        result.steps += 1
        result.wakes += 1
        result.large_tokens += 1
        if length:
            chain = TokenTree.chain(record.tokens[here : here + length])
            verdict = Verdict(tuple(range(accepted)), None, accepted == length)
            rule.learn(Outcome(Proposal(chain), verdict, record.tokens, here, scores))
        here = min(count, here + accepted + 1)
    return result


def cascade_defers(record: Record, rule: str, alpha: float) -> list[bool]:
    """Where a cascade lets the large model's law count; the rules of `verifiers.Cascade`, on a record."""
    small, large = record.small_top, record.large_top
    if rule == "chow":
        deferred = small < 1 - alpha
    elif rule == "difference":
        deferred = small < large - alpha
    else:
        deferred = small < large - alpha * record.distance
    result: list[bool] = deferred.tolist()
    return result


def acceptance_by_depth(records: Sequence[Record], most: int = 8) -> list[float]:
    """Chance that the small model's d-th draft is right, given that those before it are; from every position of the records."""
    hits, trials = [0] * most, [0] * most
    for record in records:
        agrees = record.agrees.tolist()
        for start in range(1, len(agrees)):
            for depth in range(most):
                place = start + depth
                if place >= len(agrees):
                    break
                trials[depth] += 1
                if not agrees[place]:
                    break
                hits[depth] += 1
    return [h / t for h, t in zip(hits, trials, strict=True) if t]


def acceptance_by_rank(records: Sequence[Record], most: int = 4) -> list[float]:
    """Share of positions at which the large model's token has that place in the small one's list."""
    total = sum(len(record) for record in records)
    return [
        sum(int((record.rank == rank).sum()) for record in records) / max(1, total)
        for rank in range(most)
    ]


def best_chain(
    by_depth: Sequence[float], curves: Curves, own_ms: float, most: int = 16
) -> tuple[int, float]:
    """(drafts, tokens per millisecond) of greatest goodput (SmartSpec, arXiv 2406.14066); 0 drafts is plain decoding."""
    assert curves.small is not None
    rates = [by_depth[min(depth, len(by_depth) - 1)] for depth in range(most)] if by_depth else []
    tokens = expected_tokens(rates)
    return max(
        (
            (k, tokens[k] / max(1e-9, own_ms + k * curves.small.ms(1) + curves.large.ms(k + 1)))
            for k in range(len(tokens))
        ),
        key=lambda pair: pair[1],
    )
