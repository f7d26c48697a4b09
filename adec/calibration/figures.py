"""What the records say, in a few figures that a profile keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from adec.calibration.acceptance import acceptance_by_depth, acceptance_by_rank, best_chain
from adec.calibration.fit import TRIGGER_RATES, Logistic, fit_logistic, percentile_of
from adec.calibration.signals import Record
from adec.calibration.trial import Point, own_ms_per_round
from adec.decoding.pair.costs import Curves
from adec.decoding.pair.rates import expected_tokens

if TYPE_CHECKING:
    from adec.calibration.result import Measured

PERCENTILES = (50, 75, 90, 95, 98, 99)


@dataclass
class Signals:
    """What the records say, in a few figures."""

    answers: int
    tokens: int
    context: int
    """Tokens before a typical forward: the median prompt and half an answer."""
    agreement: float
    by_depth: list[float]
    by_rank: list[float]
    small_entropy: dict[int, float]
    """Percentile to nats; likewise the next."""
    large_entropy: dict[int, float]
    thresholds: dict[float, float]
    """Trigger rate to the small model's entropy that is passed that often."""
    logistic: Logistic | None
    best_chain: int = 0
    break_even_ms: float = 0.0
    """What a forward of the small model may cost at most for a chain of drafts to pay."""


def figures_of(records: Sequence[Record], *, pair: bool) -> Signals:
    """The figures of at least one record."""
    small = np.concatenate([r.small_entropy for r in records])
    large = np.concatenate([r.large_entropy for r in records])
    agrees = np.concatenate([r.agrees for r in records]).astype(np.float64)
    return Signals(
        answers=len(records),
        tokens=len(small),
        context=round(median(r.prompt_tokens + len(r) / 2 for r in records)),
        agreement=float(agrees.mean()),
        by_depth=acceptance_by_depth(records) if pair else [],
        by_rank=acceptance_by_rank(records) if pair else [],
        small_entropy=_quantiles(small) if pair else {},
        large_entropy=_quantiles(large),
        thresholds={rate: float(np.quantile(small, 1 - rate)) for rate in TRIGGER_RATES},
        logistic=fit_logistic(small, agrees) if pair else None,
    )


def set_break_even(signals: Signals, curves: Curves, measured: Sequence[Measured]) -> None:
    """The best chain of drafts, and what a draft may cost for any chain to pay: the greatest d with E[tokens] > time / plain.

    A round's own time is that of the fixed-chain strategy as it ran; the plain token's time likewise.
    """
    chains = [m for m in measured if m.point.strategy == "smartspec" and m.runs]
    plain = next(m for m in measured if m.point.strategy == "plain")
    if curves.small is None or not signals.by_depth or not chains:
        return
    own_ms = own_ms_per_round(chains[0].runs)
    signals.best_chain, _ = best_chain(signals.by_depth, curves, own_ms)
    tokens = expected_tokens(signals.by_depth)
    signals.break_even_ms = max(
        (tokens[k] * plain.ms_per_token - own_ms - curves.large.ms(k + 1)) / k
        for k in range(1, len(tokens))
    )


def _quantiles(column: Any) -> dict[int, float]:
    return {p: float(np.percentile(column, p)) for p in PERCENTILES}


def percentiles(point: Point, records: Sequence[Record]) -> dict[str, float]:
    """The thresholds of EAD as percentiles: `up` of the small model's entropies, `down` of the large one's."""
    columns = {
        "up": np.concatenate([r.small_entropy for r in records]),
        "down": np.concatenate([r.large_entropy for r in records]),
    }
    return {
        name: percentile_of(value, columns[name])
        for name, value in point.settings
        if point.strategy == "ead" and name in columns
    }
