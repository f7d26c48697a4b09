"""Tokens per second that exact strategies are expected to reach, from acceptance and cost curves, before their full runs are counted.

Their own time for a round is not in the curves; it is read off the first runs (`PILOT`) and nothing else is. So the forecast can be
wrong, and `adec calibrate` shows it beside what was measured.
"""

from __future__ import annotations

from collections.abc import Sequence

from adec.calibration.replay import (
    acceptance_by_depth,
    acceptance_by_rank,
    best_chain,
    replay_adaedl,
    replay_chain,
)
from adec.calibration.result import Measured
from adec.calibration.signals import Record
from adec.decoding.pair.adaedl import AdaEdlSettings
from adec.decoding.pair.costs import Curves

PILOT = 3
"""Runs from which a strategy's own time is read."""
SMARTSPEC_MOST = 8
DEPTH = 8
TREE_MOST = 32


def predict_exact(measured: Sequence[Measured], records: Sequence[Record], curves: Curves) -> None:
    """Fill in the forecasts that are missing, as far as the method can be foreseen from records."""
    if curves.small is None:
        return
    part = records[:60]
    depths = acceptance_by_depth(part, DEPTH)
    ranks = acceptance_by_rank(part)
    for point in measured:
        if not point.exact or point.predicted_ms is not None or not point.runs:
            continue
        pilot = point.runs[:PILOT]
        own = sum(r.own_ms for r in pilot) / max(1, sum(r.large_forwards for r in pilot))
        name = point.point.strategy
        if name == "smartspec":
            drafts, _ = best_chain(depths, curves, own, SMARTSPEC_MOST)
            point.predicted_ms = replay_chain(part, drafts, curves).ms_per_token(own)
        elif name == "adaedl":
            point.predicted_ms = replay_adaedl(part, AdaEdlSettings(), curves).ms_per_token(own)
        elif name in ("speculate", "dyspec"):
            drafts, _ = best_chain(depths, curves, own)
            chain = replay_chain(part, drafts, curves).ms_per_token(own)
            point.predicted_ms = min(chain, _tree_ms(ranks, depths, curves, own))


def _tree_ms(
    ranks: Sequence[float], depths: Sequence[float], curves: Curves, own_ms: float
) -> float:
    """Milliseconds a token of the best tree, grown by the most likely node next (Sequoia's recurrence, greedily).

    A node's chance is its parent's times the acceptance of its rank; a draft forward is paid for each node that has children.
    """
    assert curves.small is not None
    best = own_ms + curves.large.ms(1)
    if not ranks or not depths:
        return best
    # (chance, depth, parent's number), the trunk's end being parent 0
    open_ = [(chance, 1, 0) for chance in ranks]
    tokens, parents = 1.0, set()
    for nodes in range(1, TREE_MOST + 1):
        open_.sort(reverse=True)
        chance, depth, parent = open_.pop(0)
        tokens += chance
        parents.add(parent)
        following = depths[min(depth, len(depths) - 1)]
        others = [rank * (1 - following) / max(1e-9, 1 - ranks[0]) for rank in ranks[1:]]
        open_ += [(chance * rate, depth + 1, nodes) for rate in (following, *others)]
        time = own_ms + len(parents) * curves.small.ms(1) + curves.large.ms(nodes + 1)
        best = min(best, time / tokens)
    return best
