"""Proposals that grow while they pay, and never past their room."""

from __future__ import annotations

from adec.decoding.pair.clock.acceptance_rate import Rates
from adec.decoding.pair.clock.cost_curve import CostCurve
from adec.decoding.pair.clock.timed_growth import TimedGrowth
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
