"""Strategies replayed on records: what they would have done on the large model's path, and what that would have taken.

Greedy only. A strategy that writes another token than the large model leaves the recorded path, and the replay of that answer stops there: what
follows is unknown, and `Replay.left` says so. Exact strategies never leave it. Times come from measured cost curves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adec.calibration.recording import Record
from adec.decoding.pair.clock.cost_curve import Curves
from adec.decoding.pair.ead import EadSettings, EntropyRule


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


def replay_ead(records: Sequence[Record], settings: EadSettings, curves: Curves) -> Replay:
    """EAD that trusts its drafts, by the very rule that a run uses."""
    rule = _rule(settings)
    total = Replay()
    for record in records:
        total += _ead(record, rule, curves)
    return total


def _ead(record: Record, rule: EntropyRule, curves: Curves) -> Replay:
    assert curves.small is not None
    small_ms, large_ms = curves.small.ms, curves.large.ms
    small, large = record.signals("small"), record.signals("large")
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


def replay_ead_exact(records: Sequence[Record], settings: EadSettings, curves: Curves) -> Replay:
    """EAD whose drafts the waking model judges: nothing ever leaves the path. After a wrong draft, rows of the path stand in for those off it."""
    rule = _rule(settings)
    total = Replay()
    for record in records:
        total += _ead_exact(record, rule, settings.longest, curves)
    return total


def _ead_exact(record: Record, rule: EntropyRule, longest: int, curves: Curves) -> Replay:
    assert curves.small is not None
    small_ms, large_ms = curves.small.ms, curves.large.ms
    small, large = record.signals("small"), record.signals("large")
    agrees = record.agrees.tolist()
    count = len(record)
    result = Replay(answers=1, tokens=count, replayed=count)
    rule.start()
    here, small_read, large_read = 0, 0, -1
    while here < count:
        drafts = 0
        while here + drafts < count and drafts < longest:
            place = here + drafts
            if place > small_read:
                result.ms += small_ms(place - small_read)
                small_read = place
            if rule.wake(small, place, drafts):
                break
            drafts += 1
        accepted = 0
        while accepted < drafts and agrees[here + accepted]:
            accepted += 1
        result.ms += large_ms(here + drafts - large_read)
        result.wakes += 1
        result.steps += 1
        result.large_tokens += 1
        large_read = here + drafts
        here = min(count, here + accepted + 1)
        small_read, large_read = min(small_read, here - 1), min(large_read, here - 1)
        written = 1
        while here < count and not rule.hand_back(large, here - 1, written):
            result.ms += large_ms(1)
            large_read, here, written = here, here + 1, written + 1
            result.large_tokens += 1
            result.steps += 1
    return result


def _rule(settings: EadSettings) -> EntropyRule:
    return EntropyRule(
        up=settings.up,
        down=settings.up if settings.down is None else settings.down,
        window=settings.window,
        dwell=settings.dwell,
        reset=settings.reset,
    )
