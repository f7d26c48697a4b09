"""Chains of drafts replayed on records: how long a chain grows, how much of it stands, what the round takes.

A method is two rules. Its length rule says how far the small model drafts from a place of the answer, its verdict rule how many of the
drafts stand. After a wrong draft a real run reads rows off the path, which no record holds; rows of the path stand in for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from adec.calibration.recording import Record
from adec.calibration.replay import Replay
from adec.decoding.pair.bild import BildSettings
from adec.decoding.pair.clock.cost_curve import Curves
from adec.decoding.pair.fly import FlySettings

Length = Callable[[int, int], tuple[int, int]]
"""(place, most) to (drafts, forwards of the small model), each at most `most`."""
Judge = Callable[[int, int], tuple[int, bool]]
"""(place, drafts) to (drafts that stand, whether the next one stands too although the large model would write another)."""


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
        agrees = record.agrees.tolist()
        trusted = None if defers is None else defers[index]

        def judge(
            here: int,
            length: int,
            agrees: list[bool] = agrees,
            trusted: Sequence[bool] | None = trusted,
        ) -> tuple[int, bool]:
            for place in range(here, here + length):
                if not agrees[place]:
                    return place - here, trusted is not None and not trusted[place]
            return length, False

        total += _rounds(record, _fixed(drafts), judge, curves)
    return total


def replay_bild(records: Sequence[Record], settings: BildSettings, curves: Curves) -> Replay:
    """BiLD: drafts while the small model is confident, and a draft stands unless the large model finds it very unlikely."""
    total = Replay()
    for record in records:
        agrees, surprise = record.agrees.tolist(), record.surprise.tolist()
        sure = (record.small_top >= settings.fallback).tolist()

        def judge(
            here: int,
            length: int,
            agrees: list[bool] = agrees,
            surprise: list[float] = surprise,
        ) -> tuple[int, bool]:
            for place in range(here, here + length):
                if surprise[place] > settings.rollback:
                    return place - here, False
                if not agrees[place]:
                    return place - here, True
            return length, False

        total += _rounds(record, _while(sure, settings.longest), judge, curves)
    return total


def replay_fly(records: Sequence[Record], settings: FlySettings, curves: Curves) -> Replay:
    """FLy: a draft that differs may stand where the large model is unsure and enough drafts follow.

    Whether those after it agree is not on record, so the path counts as left there: the replay is a lower bound of the agreement.
    """
    total = Replay()
    for record in records:
        agrees = record.agrees.tolist()
        open_ = (record.large_entropy >= settings.gate).tolist()

        def judge(
            here: int, length: int, agrees: list[bool] = agrees, open_: list[bool] = open_
        ) -> tuple[int, bool]:
            for place in range(here, here + length):
                if not agrees[place]:
                    enough = place + settings.window - 1 < here + length
                    return place - here, enough and (settings.gate <= 0 or open_[place])
            return length, False

        total += _rounds(record, _fixed(settings.drafts), judge, curves)
    return total


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


def _fixed(drafts: int) -> Length:
    return lambda here, most: (min(drafts, most), min(drafts, most))


def _while(sure: Sequence[bool], longest: int) -> Length:
    """Drafts as long as a place is sure; the row that ends a chain was read, too."""

    def length(here: int, most: int) -> tuple[int, int]:
        most = min(longest, most)
        count = 0
        while count < most and sure[here + count]:
            count += 1
        return count, min(most, count + 1)

    return length


def _exact(record: Record) -> Judge:
    agrees = record.agrees.tolist()

    def judge(here: int, length: int) -> tuple[int, bool]:
        accepted = 0
        while accepted < length and agrees[here + accepted]:
            accepted += 1
        return accepted, False

    return judge


def _rounds(
    record: Record,
    length: Length,
    judge: Judge,
    curves: Curves,
) -> Replay:
    assert curves.small is not None
    small_ms, large_ms = curves.small.ms, curves.large.ms
    count = len(record)
    # the first token comes with the prompt
    result = Replay(answers=1, tokens=count, replayed=min(1, count), large_tokens=min(1, count))
    here, small_read = 1, -1
    while here < count:
        # the end token may be drafted like any other
        drafts, looked = length(here, count - here)
        if looked > 0:
            result.ms += small_ms(here - small_read) + (looked - 1) * small_ms(1)
        result.ms += large_ms(drafts + 1)
        result.steps += 1
        result.wakes += 1
        accepted, left = judge(here, drafts)
        if left:
            result.left, result.replayed = 1, here + accepted
            return result
        if looked > 0:
            small_read = here + min(accepted, looked - 1)
        result.large_tokens += 1
        here = min(count, here + accepted + 1)
    result.replayed = count
    return result
