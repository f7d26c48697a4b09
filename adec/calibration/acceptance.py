"""How often drafts of the small model are right, by depth and by rank, and the chain of drafts that pays best for it."""

from __future__ import annotations

from collections.abc import Sequence

from adec.calibration.signals import Record
from adec.decoding.pair.costs import Curves
from adec.decoding.pair.rates import expected_tokens


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
