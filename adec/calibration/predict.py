"""Tokens per second that strategies are expected to reach, from records and cost curves.

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
from adec.calibration.trial import own_ms_per_round
from adec.decoding.pair.adaedl import AdaEdlSettings
from adec.decoding.pair.costs import Curves

REPLAYED = 60
PILOT = 3
"""Runs from which a strategy's own time is read."""
SMARTSPEC_MOST = 8
DEPTH = 8
TREE_MOST = 32


def predict(measured: Sequence[Measured], records: Sequence[Record], curves: Curves) -> None:
    """Fill in the forecasts, as far as a method can be foreseen from records.

    The pace is what plain decoding's forwards took in the same minutes, over what the curve says: a machine that warms up or is shared is not
    the one of the minute before.
    """
    plain = next(m for m in measured if m.point.strategy == "plain")
    seen = plain.ms_per_token - _own_ms(plain)
    pace = seen / max(1e-9, curves.large.ms(1))
    for point in measured:
        if point.forwards_ms is None and curves.small is not None:
            point.forwards_ms = _forwards_ms(point, records[:REPLAYED], curves)
        if point.forwards_ms is not None and point.runs:
            point.predicted_ms = pace * point.forwards_ms + _own_ms(point)


def _own_ms(point: Measured) -> float:
    """Own time of a token, by the first runs."""
    pilot = point.runs[:PILOT]
    return sum(r.own_ms for r in pilot) / max(1, sum(r.decoded for r in pilot))


def _forwards_ms(point: Measured, records: Sequence[Record], curves: Curves) -> float | None:
    """Milliseconds of forwards a token, for exact strategies whose rounds the records foretell."""
    name = point.point.strategy
    depths = acceptance_by_depth(records, DEPTH)
    own = own_ms_per_round(point.runs[:PILOT])
    if name == "smartspec":
        drafts, _ = best_chain(depths, curves, own, SMARTSPEC_MOST)
        return replay_chain(records, drafts, curves).ms_per_token(0.0)
    if name == "adaedl":
        return replay_adaedl(records, AdaEdlSettings(), curves).ms_per_token(0.0)
    if name in ("speculate", "dyspec"):
        drafts, _ = best_chain(depths, curves, own)
        chain = replay_chain(records, drafts, curves).ms_per_token(0.0)
        return min(chain, _tree_ms(acceptance_by_rank(records), depths, curves, own))
    return None


def _tree_ms(
    ranks: Sequence[float], depths: Sequence[float], curves: Curves, own_ms: float
) -> float:
    """Forwards a token of the best tree, milliseconds; grown by the most likely node next (Sequoia's recurrence, greedily).

    A node's chance is its parent's times the acceptance of its rank; a draft forward is paid for each node that has children.
    """
    assert curves.small is not None
    least = curves.large.ms(1)
    best = own_ms + least
    if not ranks or not depths:
        return least
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
        forwards = len(parents) * curves.small.ms(1) + curves.large.ms(nodes + 1)
        if (own_ms + forwards) / tokens < best:
            best, least = (own_ms + forwards) / tokens, forwards / tokens
    return least
