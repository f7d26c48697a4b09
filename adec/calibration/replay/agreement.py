"""How well the small model foretells the large one, and how unsure both are, over all records.

These figures go into a profile: for people, and for thresholds that are given as trigger rates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from adec.calibration.replay.grids import CHAINS, FAMILIES, TRIGGER_RATES
from adec.calibration.replay.recording import Column, Record
from adec.calibration.trials.measured import Measured, own_ms_per_round
from adec.calibration.trials.trial import Point
from adec.decoding.pair.clock.acceptance_rate import expected_tokens
from adec.decoding.pair.clock.cost_curve import Curves
from adec.decoding.search.threshold import fit_logistic
from adec.events.records import Role

PERCENTILES = (50, 75, 90, 95, 98, 99)
DEPTHS, LIST_RANKS = 8, 4
"""Drafts in a row, and ranks in the small model's list, whose acceptance is counted."""
LONGEST_CHAIN = 16


@dataclass(frozen=True)
class Logistic:
    """The chance that the small model's token is the large one's, from its entropy in nats.

    P = 1 / (1 + exp(-(weight * entropy + bias))), as AdaDec has it (arXiv 2506.08980).
    """

    weight: float
    bias: float

    def agreement(self, entropy: float) -> float:
        """The chance at one entropy."""
        return 1 / (1 + math.exp(-max(-60.0, min(60.0, self.weight * entropy + self.bias))))


@dataclass
class Agreement:
    """What the records say; the figures of the small model are empty where there is none."""

    answers: int
    tokens: int
    context: int
    """Tokens before a typical forward: the median prompt and half an answer."""
    share: float
    """Of the positions, where the small model would have written the same token."""
    by_depth: list[float]
    """Acceptance rate of the d-th draft, those before it accepted."""
    by_rank: list[float]
    """Share of the positions where the large model's token is the r-th of the small one's list."""
    small_entropy: dict[int, float]
    """Percentile to nats."""
    large_entropy: dict[int, float]
    thresholds: dict[float, float]
    """Trigger rate to the small model's entropy that is exceeded that often."""
    logistic: Logistic | None
    best_chain: int = 0
    """Drafts of greatest goodput; 0 where drafting does not pay."""
    break_even_ms: float = 0.0
    """What a forward of the small model may cost at most for a chain of drafts to pay."""


def agreement_of(records: Sequence[Record], *, pair: bool) -> Agreement:
    """The figures of at least one record."""
    small, large = _entropies(records, "small"), _entropies(records, "large")
    agrees = np.concatenate([r.agrees for r in records])
    return Agreement(
        answers=len(records),
        tokens=len(small),
        context=round(median(r.prompt_tokens + len(r) / 2 for r in records)),
        share=float(agrees.mean()),
        by_depth=acceptance_by_depth(records) if pair else [],
        by_rank=acceptance_by_rank(records) if pair else [],
        small_entropy=_percentiles(small) if pair else {},
        large_entropy=_percentiles(large),
        thresholds={rate: float(np.quantile(small, 1 - rate)) for rate in TRIGGER_RATES},
        logistic=logistic_of(small, agrees) if pair else None,
    )


def acceptance_by_depth(records: Sequence[Record], most: int = DEPTHS) -> list[float]:
    """Chance that the small model's d-th draft is right, given that those before it are.

    Every position of the records counts as the start of a chain.
    """
    hits, trials = [0] * most, [0] * most
    for record in records:
        agrees = record.agrees.tolist()
        for start in range(1, len(agrees)):
            for depth, right in enumerate(agrees[start : start + most]):
                trials[depth] += 1
                if not right:
                    break
                hits[depth] += 1
    return [h / t for h, t in zip(hits, trials, strict=True) if t]


def acceptance_by_rank(records: Sequence[Record], most: int = LIST_RANKS) -> list[float]:
    """Share of positions where the large model's token is the r-th of the small one's list."""
    ranks = np.concatenate([record.rank for record in records])
    return [float((ranks == rank).mean()) for rank in range(most)]


def logistic_of(entropies: Column, agrees: Column) -> Logistic | None:
    """The logistic fit; None when all positions are alike, since there is nothing to tell apart."""
    flags = agrees.astype(np.bool_)
    if len(entropies) < 2 or flags.all() or not flags.any():
        return None
    return Logistic(*fit_logistic(entropies, flags, ridge=1e-3))


def best_chain(
    by_depth: Sequence[float], curves: Curves, own_ms: float, most: int = LONGEST_CHAIN
) -> tuple[int, float]:
    """(drafts, tokens per millisecond) of greatest goodput; 0 drafts is plain decoding.

    SmartSpec, arXiv 2406.14066. `own_ms`: the strategy's own time for a round.
    """
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


def set_break_even(found: Agreement, curves: Curves, measured: Sequence[Measured]) -> None:
    """Fill in the best chain of drafts, and what a draft may cost for any chain to pay.

    That is the greatest d with E[tokens] > (own + k d + large(k + 1)) / plain for some k. A round's
    own time and a plain token's time are those of real runs.
    """
    chains = [m for m in measured if m.point.strategy == CHAINS and m.runs]
    plain = next(m for m in measured if m.point.is_yardstick)
    if curves.small is None or not found.by_depth or not chains:
        return
    own_ms = own_ms_per_round(chains[0].runs)
    found.best_chain, _ = best_chain(found.by_depth, curves, own_ms)
    tokens = expected_tokens(found.by_depth)
    found.break_even_ms = max(
        (tokens[k] * plain.ms_per_token - own_ms - curves.large.ms(k + 1)) / k
        for k in range(1, len(tokens))
    )


def threshold_percentiles(point: Point, records: Sequence[Record]) -> dict[str, float]:
    """A point's thresholds as percentiles of the entropies that they are held against."""
    family = FAMILIES.get(point.strategy)
    if family is None:
        return {}
    return {
        name: percentile_of(value, _entropies(records, family.thresholds[name]))
        for name, value in point.settings
        if name in family.thresholds
    }


def percentile_of(value: float, column: Column) -> float:
    """Percent of the entries at or below a value: how thresholds are compared between pairs."""
    return float(100 * (column <= value).mean()) if len(column) else 0.0


def _entropies(records: Sequence[Record], role: Role) -> Column:
    return np.concatenate([getattr(record, f"{role}_entropy") for record in records])


def _percentiles(column: Column) -> dict[int, float]:
    return {p: float(np.percentile(column, p)) for p in PERCENTILES}
