"""Proposals that grow while they pay, and never past their room."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adec.decoding.pair.clock.acceptance_rate import Rates
from adec.decoding.pair.clock.cost_curve import CostCurve
from adec.decoding.pair.clock.timed_growth import AHEAD, STEADY, ObservedGrowth, TimedGrowth
from adec.decoding.pair.drafters.growth import Growth, Room
from adec.decoding.pair.drafters.shapes import best_first

ROOM = Room(nodes=64, leaves=8, depth=64)


def timed(points, *, most: int = 64, own: float = 0.0, room: Room = ROOM) -> TimedGrowth:
    return TimedGrowth(CostCurve(points), unread=1, own_ms=own, room=room, rates=Rates(), most=most)


def grow(growth: TimedGrowth, values) -> int:
    for value in values:
        if not growth.admits(value):
            break
        growth.add(value)
    return growth.best()


def test_a_node_must_earn_its_time() -> None:
    # each node costs a tenth of a forward: worth it while its chance is above tokens / (10 + nodes)
    flat = {n: 10.0 + (n - 1) for n in range(1, 30)}
    assert grow(timed(flat), [0.05] * 5) == 0
    assert grow(timed(flat), [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2]) == 6
    linear = {n: 10.0 * n for n in range(1, 30)}
    assert grow(timed(linear), [0.9] * 5) == 0


def test_a_step_is_climbed_when_what_lies_behind_it_pays() -> None:
    """The node after a step costs more than it brings, unless free ones come after it."""
    steps = {n: 10.0 if n <= 2 else 13.0 for n in range(1, 9)}
    assert grow(timed(steps, most=7), [0.5, 0.4, 0.4, 0.4, 0.4, 0.4]) == 6
    # climbed in vain: the tail that was admitted in hope is cut off again
    growth = timed(steps, most=7)
    assert growth.admits(0.9)
    growth.add(0.9)
    assert growth.admits(0.4)
    growth.add(0.4)
    assert growth.best() == 1


def test_drafting_time_counts() -> None:
    flat = {n: 10.0 for n in range(1, 30)}
    growth = timed(flat)
    assert growth.admits(0.9, draft_ms=1.0)
    assert not growth.admits(0.9, draft_ms=50.0)


def test_a_node_beside_a_prompt_must_be_worth_more_than_it_adds() -> None:
    """A token is worth 12 ms later; each more in this forward takes 10, the first 40."""
    curve = CostCurve({1: 40.0, 65: 680.0})

    def nodes(chance: float) -> int:
        growth = TimedGrowth(
            curve, unread=20, own_ms=0.0, room=ROOM, rates=Rates(), most=8, worth_ms=12.0
        )
        return grow(growth, [chance**n for n in range(1, 9)])

    assert nodes(0.8) == 0
    assert 0 < nodes(0.93) <= 3
    assert nodes(1.0) == 8


def test_room_is_never_exceeded() -> None:
    room = Room(nodes=5, leaves=2, depth=3)

    def successors(tree, node):
        return [(token, 0.5 - 0.1 * token) for token in range(4)]

    for most in (1, 3, 5, 40):
        grown = best_first(Growth(most, room, Rates()), successors, frozenset())
        assert len(grown.tree) == min(most, 5)
        assert len(grown.tree.leaves()) <= 2
        assert max(grown.tree.depths()) < 3
    grown = best_first(Growth(9, Room(9, 8, 9), Rates()), successors, frozenset({0}))
    assert not any(grown.tree.tokens[p] == 0 for p in grown.tree.parents if p >= 0)


CURVES = st.dictionaries(st.integers(1, 64), st.floats(0.1, 50.0), min_size=1, max_size=9)


def rising(points):
    """The points as a curve that never falls, as more tokens take longer."""
    return CostCurve(dict(zip(sorted(points), sorted(points.values()), strict=True)))


@given(CURVES, st.integers(0, 40))
def test_no_further_token_is_cheaper_than_the_least_that_one_adds(points, size) -> None:
    curve = rising(points)
    least = curve.least_more(size, AHEAD)
    for more in range(1, AHEAD + 1):
        assert (curve.ms(size + more) - curve.ms(size)) / more >= least - 1e-9


@given(
    CURVES,
    st.lists(st.floats(0.01, 1.0), max_size=8),
    st.floats(0.0, 1.0),
    st.floats(0.0, 3.0),
    st.none() | st.floats(0.1, 30.0),
)
def test_what_is_refused_at_once_would_be_refused_after_a_look_at_every_size(
    points, before, value, draft_ms, worth_ms
) -> None:
    curve = rising(points)
    growth = TimedGrowth(
        curve, unread=1, own_ms=0.2, room=ROOM, rates=Rates(), most=64, worth_ms=worth_ms
    )
    for node in before:
        growth.add(node)

    def score(tokens: float, nodes: int, spent: float) -> float:
        ms = 0.2 + curve.ms(1 + nodes) + spent
        return tokens / ms if worth_ms is None else tokens * worth_ms - ms

    nodes, tokens, chance = len(before), 1 + sum(before), value
    now = score(tokens, nodes, 0.0)
    decay = min(STEADY, value / (before[-1] if before else 1.0))
    gains = []
    for more in range(1, AHEAD + 1):
        tokens += chance
        chance *= decay
        gains.append(score(tokens, nodes + more, more * draft_ms) - now)
    if max(gains) > 1e-9:
        assert growth.admits(value, draft_ms)
    if max(gains) < -1e-9:
        assert not growth.admits(value, draft_ms)


def test_an_offer_that_cannot_pay_is_not_looked_up_below_its_first_nodes() -> None:
    """What stands deeper could be compared with nothing: a plain round commits one token."""
    looked_up = []

    def successors(tree, node):
        looked_up.append(node)
        return [(token, 0.3 - 0.1 * token) for token in range(3)]

    for points, deeper in (({1: 10.0, 64: 640.0}, False), ({1: 10.0, 64: 11.0}, True)):
        looked_up.clear()
        inner = timed(points)
        grown = best_first(ObservedGrowth(inner, 4), successors, frozenset())
        assert (len(looked_up) > 1) == deeper
        assert len(grown.tree) >= 3
