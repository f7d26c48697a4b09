"""Costs, acceptance, growth and the throttle, with made-up clocks and made-up acceptance."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adec.decoding.pair.acceptance import Verdict
from adec.decoding.pair.arm import Arm
from adec.decoding.pair.costs import CostCurve, Timings
from adec.decoding.pair.drafters.drafter import Outcome, Proposal, empty
from adec.decoding.pair.drafters.suffix import SuffixMatching
from adec.decoding.pair.growth import FixedGrowth, Room, TimedGrowth
from adec.decoding.pair.lookup import LookupSettings
from adec.decoding.pair.measuring import SIZES, keep_curve, kept_curve, measure
from adec.decoding.pair.planner import observe, overhear
from adec.decoding.pair.rates import Rates, expected_tokens
from adec.decoding.pair.shapes import best_first
from adec.decoding.pair.smartspec import GoodputPlanner, SmartSpecSettings
from adec.decoding.pair.speculate import SpeculateSettings
from adec.decoding.pair.throttle import TRIES, TRIES_FREE, WAIT, WAIT_MOST, Throttle
from adec.decoding.registry import find_method
from adec.decoding.strategy import Aids, Limits
from adec.engines.pair import Engines
from adec.tree import TokenTree
from tests.decoding.clock import LARGE, SMALL, Clock, TimedTable, cpu

ROOM = Room(nodes=64, leaves=8, depth=64)


# ---- costs


def test_a_curve_goes_through_its_points_and_straight_between() -> None:
    curve = CostCurve({1: 10.0, 4: 13.0, 5: 20.0})
    assert [curve.ms(n) for n in (0, 1, 2, 4, 5)] == [0, 10, 11, 13, 20]
    assert curve.ms(9) == pytest.approx(20 + 4 * 10 / 4)  # the mean slope goes on


@given(st.dictionaries(st.integers(1, 64), st.floats(0, 1e4), min_size=1), st.integers(2, 70))
def test_a_forward_is_filled_up_only_to_one_that_is_cheaper(points, size) -> None:
    curve = CostCurve(points)
    filled = curve.filled(size)
    most = size + max(8, size)
    assert size <= filled <= most and curve.ms(size) >= 0
    if filled > size:
        assert curve.ms(size) == points[filled]
        assert all(points[filled] <= ms for n, ms in points.items() if size < n <= most)


def test_a_full_block_is_cheaper_than_one_nearly_full() -> None:
    curve = CostCurve({1: 20.0, 8: 100.0, 15: 200.0, 16: 143.0, 17: 160.0, 31: 350.0, 32: 280.0})
    assert [curve.filled(n) for n in (1, 2, 11, 13, 16, 17, 27)] == [1, 2, 11, 16, 16, 17, 32]
    assert curve.ms(15) == 143 and curve.ms(0) == 0
    assert CostCurve({1: 10.0, 2: 9.9}).filled(1) == 1  # plain decoding is not filled up
    assert CostCurve({4: 10.0, 5: 9.9}).filled(4) == 4  # no more than chance


def test_a_curve_learns_medians_of_late_forwards() -> None:
    timings = Timings()
    assert timings.curve is None
    for ms in (99.0, 10.0, 11.0, 10.0):
        timings.record(1, ms)
    assert timings.curve is not None and timings.curve.ms(1) == 10.5
    assert 10.5 < timings.curve.ms(4) < 4 * 10.5  # unseen: between flat and linear
    for _ in range(9):
        timings.record(1, 20.0)
    assert timings.curve.ms(1) == 20


def test_times_of_long_ago_are_forgotten_and_what_was_measured_is_not() -> None:
    timings = Timings(CostCurve({1: 1.0, 8: 2.0}))
    for _ in range(9):
        timings.record(1, 20.0)
    assert timings.curve.ms(8) == pytest.approx(40.0)
    timings.forget()
    assert timings.curve.points == {1: 1.0, 8: 2.0} and timings.count(1) == 0
    alone = Timings()
    alone.record(1, 20.0)
    alone.forget()
    assert alone.curve is None


def test_a_measured_curve_is_scaled_to_the_machines_speed_today() -> None:
    timings = Timings(CostCurve({1: 10.0, 2: 11.0, 4: 12.0}))
    timings.record(1, 20.0)
    assert timings.curve is not None
    assert [timings.curve.ms(n) for n in (1, 2, 4)] == [20, 22, 24]


def test_measuring_is_kept(tmp_path, monkeypatch) -> None:
    clock = Clock()
    monkeypatch.setattr("adec.decoding.pair.measuring.perf_counter", clock)
    engine = TimedTable(lambda p: [1.0] * 6, clock, cpu(10, 2), size=6, context=20)
    curve = measure(engine)
    assert engine.length == 0
    assert curve.points == pytest.approx({n: 10 + 2 * (n - 1) for n in SIZES if n <= 20})
    assert kept_curve(engine, tmp_path) is None
    keep_curve(engine, curve, tmp_path)
    kept = kept_curve(engine, tmp_path)
    assert kept is not None and kept.points == pytest.approx(curve.points)
    (path,) = tmp_path.iterdir()
    for wrong in (
        b"",
        b"[]",
        b'{"schema": 2}',
        b'{"schema": 2, "ms": {"0": 1}}',
        b'{"schema": 2, "ms": {"1": "x"}}',
        b'{"schema": 1, "ms": {"1": 2.0}}',
    ):
        path.write_bytes(wrong)
        assert kept_curve(engine, tmp_path) is None


def test_measuring_stops_in_time(monkeypatch) -> None:
    clock = Clock()
    monkeypatch.setattr("adec.decoding.pair.measuring.perf_counter", clock)
    engine = TimedTable(lambda p: [1.0] * 6, clock, cpu(2000, 100), size=6)
    curve = measure(engine, seconds=3.0)
    assert set(curve.points) == {1, 2, 3, 4}
    assert clock.now < 2 + 4 * 2.4


# ---- acceptance


def test_rates_begin_with_the_drafters_word_and_end_with_the_facts() -> None:
    rates = Rates()
    assert rates.accepted(0.75, 0) == pytest.approx(0.75)
    rng = random.Random(1)
    for _ in range(400):
        rates.observe(0.75, 0, 0, rng.random() < 0.3)
    assert rates.accepted(0.75, 0) == pytest.approx(0.3, abs=0.12)
    assert rates.accepted(0.35, 0) == pytest.approx(0.35)  # another bin
    rates.soften()
    for _ in range(8):
        rates.observe(0.75, 0, 0, True)
    assert rates.accepted(0.75, 0) > 0.6


def test_what_was_not_judged_is_not_counted() -> None:
    """Below the first rejection nothing is known: counting it as rejected would halve the estimate here."""
    rng = random.Random(2)
    honest = Rates()
    for _ in range(600):
        chain = TokenTree.chain([0] * 6)
        path = []
        while len(path) < 6 and rng.random() < 0.8:
            path.append(len(path))
        verdict = Verdict(tuple(path), 1, len(path) == 6)
        proposal = Proposal(chain, ["small"] * 6, [0.85] * 6)
        observe(honest, Outcome(proposal, verdict, (), 0, None), in_order=False)
    for depth in range(5):
        assert honest.at_depth(depth) == pytest.approx(0.8, abs=0.13)


def test_siblings_after_the_accepted_one_are_judged_only_when_following() -> None:
    tree = TokenTree([1, 2, 3], [-1, -1, -1], [None] * 3)
    proposal = Proposal(tree, ["small"] * 3, [0.5, 0.3, 0.15])
    outcome = Outcome(proposal, Verdict((1,), 0, True), (), 0, None)

    class Seen(Rates):
        def __init__(self):
            super().__init__()
            self.seen = []

        def observe(self, chance, depth, rank, accepted):
            self.seen.append((rank, accepted))

    following, in_order = Seen(), Seen()
    observe(following, outcome, in_order=False)
    observe(in_order, outcome, in_order=True)
    assert following.seen == [(0, False), (1, True), (2, False)]
    assert in_order.seen == [(0, False), (1, True)]


def test_what_a_drafter_said_is_judged_by_what_was_committed_instead() -> None:
    #  1 -> 2 -> 3, and 4 beside 1
    tree = TokenTree([1, 4, 2, 3], [-1, -1, 0, 2], [None] * 4)
    said = Proposal(tree, ["suffix"] * 4, [0.5, 0.3, 0.9, 0.9])
    cases = {
        (): [],
        (1,): [(0, 0, True), (0, 1, False)],
        (4, 2): [(0, 0, False), (0, 1, True)],
        (1, 2, 9): [(0, 0, True), (0, 1, False), (1, 0, True), (2, 0, False)],
        (9, 2): [(0, 0, False), (0, 1, False)],
    }
    for committed, expected in cases.items():
        seen = []
        rates = Rates()
        rates.observe = lambda chance, *what, seen=seen: seen.append(what)
        overhear(rates, said, committed)
        assert seen == expected


def test_a_small_model_that_has_nothing_is_asked_less_and_less() -> None:
    arm = Arm(None)
    pauses = []
    for _ in range(8):
        arm.asked(empty())
        pauses.append(arm.pause)
    assert pauses == [0, 1, 2, 4, 8, 16, 16, 16]
    arm.asked(Proposal(TokenTree.chain([1]), ["small"], [0.9]))
    arm.asked(empty())
    assert arm.pause == 0
    arm.asked(empty())
    assert arm.pause == 1


def test_a_new_answer_begins_with_what_was_learnt_but_not_shut_out() -> None:
    arm = Arm(None)
    for _ in range(40):
        arm.rates.observe(0.95, 0, 0, False)
    for _ in range(TRIES):
        arm.throttle.record(1, 30.0, 10.0)
    assert arm.throttle.state == "closed"
    arm.begin()
    assert arm.throttle.state == "open"
    known = arm.rates.accepted(0.95, 0)
    assert known < 0.5
    for _ in range(6):
        arm.rates.observe(0.95, 0, 0, True)
    assert arm.rates.accepted(0.95, 0) > known + 0.25


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


def test_expected_tokens_of_a_chain() -> None:
    assert expected_tokens([0.5, 0.5]) == [1, 1.5, 1.75]


# ---- growth


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
    """The node after a step alone costs more than it brings; with the free ones after it, it pays."""
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


def test_room_is_never_exceeded() -> None:
    room = Room(nodes=5, leaves=2, depth=3)

    def successors(tree, node):
        return [(token, 0.5 - 0.1 * token) for token in range(4)]

    for most in (1, 3, 5, 40):
        grown = best_first(FixedGrowth(most, room, Rates()), successors, frozenset())
        assert len(grown.tree) == min(most, 5)
        assert len(grown.tree.leaves()) <= 2
        assert max(grown.tree.depths()) < 3
    grown = best_first(FixedGrowth(9, Room(9, 8, 9), Rates()), successors, frozenset({0}))
    assert not any(grown.tree.tokens[p] == 0 for p in grown.tree.parents if p >= 0)


# ---- the throttle


def test_it_gives_up_within_a_few_rounds_and_probes_rarely() -> None:
    throttle = Throttle()
    used = 0
    for _ in range(1000):
        if throttle.state == "closed":
            throttle.tick()
        else:
            throttle.record(1, 20.0, 10.0)  # never accepted, twice the time
            used += 1
    assert throttle.speed == pytest.approx(0.5)
    assert used <= TRIES + 2 * 8
    assert 1 - used / 1000 > 0.97


def test_a_good_drafter_stays_and_a_lapse_is_forgiven() -> None:
    throttle = Throttle()
    rng = random.Random(3)
    for _ in range(500):
        throttle.record(1 + rng.choice([0, 1, 2, 3]), 16.0, 10.0)  # 2.5 tokens for 1.6 plain rounds
        assert throttle.state == "open" or throttle.speed is None


def test_it_comes_back_when_drafting_pays_again() -> None:
    throttle = Throttle()
    for _ in range(TRIES):
        throttle.record(1, 20.0, 10.0)
    assert throttle.state == "closed"
    waited = 0
    while throttle.state == "closed":
        throttle.tick()
        waited += 1
    assert waited == WAIT < WAIT_MOST
    assert throttle.record(4, 20.0, 10.0) is False
    assert throttle.record(4, 20.0, 10.0) is True
    assert throttle.state == "open"


# ---- whole strategies on a made-up clock


def two_moods(change: int, back: int):
    """The small model is right before position `change` and after `back`, wrong between."""

    def target(prefix):
        row = [0.0] * 6
        row[(prefix[-1] + 1 + len(prefix) // 5 % 3) % 6] = 1.0
        return row

    def draft(prefix):
        if change <= len(prefix) < back:
            row = [0.0] * 6
            row[(prefix[-1] + 5) % 6] = 1.0
            return row
        return target(prefix)

    return draft, target


def run(name: str, settings, draft, target, *, small=SMALL, large=LARGE, count=400):
    clock = Clock()
    engines = Engines(
        large=TimedTable(target, clock, large, size=6, name="large"),
        small=TimedTable(draft, clock, small, size=6, name="small"),
    )
    strategy = find_method(name).build(engines, settings, Aids())
    with clock.installed():
        steps = list(strategy.generate([0], Limits(count)))
    return [step for step in steps if step.kind != "prompt"]


ONLY_SMALL = SpeculateSettings(suffix=False, recycling=False)


@pytest.mark.parametrize(
    ("name", "settings"), [("speculate", ONLY_SMALL), ("smartspec", SmartSpecSettings())]
)
def test_drafting_stops_where_it_cannot_pay_and_comes_back(name, settings) -> None:
    steps = run(name, settings, *two_moods(150, 450), count=800)
    position, moods = 1, {"right": [], "wrong": [], "again": []}
    for step in steps:
        mood = "right" if position < 150 else "wrong" if position < 450 else "again"
        moods[mood].append(step)
        position += len(step.tokens)

    def speed(steps) -> float:
        return 10 * sum(len(s.tokens) for s in steps) / sum(s.ms() for s in steps)

    assert speed(moods["right"]) > 1.8
    assert speed(moods["wrong"]) > 0.85
    drafted = [step.drafted > 0 for step in moods["wrong"]]
    assert sum(drafted[20:]) <= 0.15 * len(drafted[20:])
    assert speed(moods["again"]) > 1.3
    assert speed(moods["again"][-20:]) > 1.8


def test_a_small_model_that_costs_too_much_is_left_alone() -> None:
    """Every draft is right, and still not worth it: acceptance cannot decide."""
    steps = run("speculate", ONLY_SMALL, *two_moods(0, 0), small=cpu(12, 1))
    assert sum(step.drafted > 0 for step in steps) <= 16
    assert 10 * 400 / sum(step.ms() for step in steps) > 0.9
    assert any(step.reason and "pause" in step.reason for step in steps)


def test_a_small_model_is_not_judged_for_ever_by_a_slow_moment() -> None:
    """Its first two forwards take twenty times as long as all later ones; another drafter pays meanwhile."""
    began = []

    def slow_at_first(count: int) -> float:
        began.append(count)
        return cpu(20.0, 4.0)(count) if len(began) <= 2 else SMALL(count)

    chosen = SpeculateSettings(suffix=False)
    steps = run("speculate", chosen, *two_moods(0, 0), small=slow_at_first, count=400)
    late = steps[-12:]
    assert 10 * sum(len(s.tokens) for s in late) / sum(s.ms() for s in late) > 1.8


def test_a_machine_whose_batches_cost_as_much_as_single_tokens_drafts_nothing() -> None:
    steps = run("speculate", SpeculateSettings(), *two_moods(0, 0), large=lambda n: 10.0 * n)
    assert 10 * 400 / sum(step.ms() for step in steps) > 0.95
    assert sum(step.drafted > 0 for step in steps) < 0.1 * len(steps)


def test_budgets_end_before_a_step_of_the_machine() -> None:
    """Verification is free up to four tokens, then doubles: blocks of four, whole or but for one, once that was seen."""
    steps = run(
        "speculate",
        ONLY_SMALL,
        *two_moods(0, 0),
        large=lambda n: 10.0 * -(-n // 4),
        small=cpu(2.5, 0.1),
    )
    late = [f.tokens for s in steps[len(steps) // 2 :] for f in s.forwards if f.purpose == "verify"]
    assert late and sum(tokens % 4 in (3, 0) for tokens in late) >= 0.9 * len(late)


def test_goodput_knows_no_draft_and_long_ones() -> None:
    class Small:
        timings = Timings()

        def draft_ms(self, count=1):
            return 1.0

    planner = GoodputPlanner(Small(), SmartSpecSettings())
    flat, linear = CostCurve({1: 10.0, 9: 10.0}), CostCurve({1: 10.0, 9: 90.0})
    best = {}
    for alpha in (0.1, 0.5, 0.9):
        planner.alpha = alpha
        for name, curve in (("flat", flat), ("linear", linear)):
            best[alpha, name] = max(range(9), key=lambda k, c=curve: planner.goodput(k, 1, c))
    assert [best[a, "linear"] for a in (0.1, 0.5, 0.9)] == [0, 0, 0]
    assert best[0.1, "flat"] < best[0.5, "flat"] < best[0.9, "flat"] == 8


# ---- copying


class Repeats:
    """Says the prompt again, then again."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __call__(self, prefix):
        token = prefix[-self.length] if len(prefix) >= self.length else 0
        return [100.0 if t == token else 1.0 for t in range(12)]


def copied(cost, count: int = 200):
    clock = Clock()
    rng = random.Random(4)
    prompt = [rng.randrange(12) for _ in range(60)]
    engine = TimedTable(Repeats(60), clock, cost, size=12, context=600)
    strategy = find_method("lookup").build(Engines(large=engine), LookupSettings(), Aids())
    strategy.measured(CostCurve({n: cost(n) for n in range(1, 33)}))
    with clock.installed():
        steps = list(strategy.generate(prompt, Limits(count)))
    tokens = [token.id for step in steps for token in step.tokens]
    assert tokens == (prompt * 5)[:count]
    return steps


def test_a_forward_nearly_full_is_filled_up() -> None:
    filled = 0
    for count in range(190, 198):  # the answer's limit leaves less than a block at the end
        steps = copied(lambda n: (3.0 if n % 8 == 0 else 5.0) * n, count)
        forwards = [f for step in steps for f in step.forwards if f.purpose == "verify"]
        assert max(len(step.tokens) for step in steps) >= 8
        assert all(f.tokens % 8 == 0 for f in forwards if f.tokens >= 5)
        filled += any(s.forwards[0].tokens > s.drafted + 1 for s in steps if s.drafted)
    assert filled >= 2


def test_a_copy_is_taken_up_again_however_often_drafts_failed_before() -> None:
    throttle = Throttle(free=True)
    for _ in range(40):
        if throttle.state == "open":
            throttle.record(1, 20.0, 10.0)
    assert throttle.state == "closed"
    throttle.convince(7)
    assert throttle.state == "closed"
    throttle.convince(8)
    assert throttle.state == "open"
    for _ in range(TRIES_FREE):
        throttle.record(1, 20.0, 10.0)
    throttle.convince(15)  # it was wrong to trust eight
    assert throttle.state == "closed"
    throttle.convince(16)
    assert throttle.state == "open"


def test_a_text_that_repeats_itself_is_drafted_past_its_end() -> None:
    drafter = SuffixMatching(latest_only=True)
    list(drafter.start([5, 7, 1, 2, 3, 1, 2, 3, 1, 2], Limits(0)))
    growth = FixedGrowth(8, Room(8, 1, 8), Rates())
    assert drafter.propose([], growth, None).tree.tokens == [3, 1, 2, 3, 1, 2, 3, 1]


@given(st.lists(st.integers(0, 2), max_size=60))
def test_the_streak_is_what_a_copy_has_run_for(tokens) -> None:
    drafter = SuffixMatching()
    list(drafter.start([], Limits(0)))
    for place in range(len(tokens)):
        drafter._extend(tokens[place : place + 1])
        text = tokens[: place + 1]
        longest = max(
            (
                n
                for n in range(place + 1)
                if any(text[i : i + n] == text[place + 1 - n :] for i in range(place + 1 - n))
            ),
            default=0,
        )
        assert drafter.streak <= longest
    again = [0, 1, 2, 0, 2, 1, 1, 0, 2, 2]
    list(drafter.start(again, Limits(0)))
    for count, token in enumerate(again):
        drafter._extend([token])
        assert drafter.streak == max(0, count - 1)
