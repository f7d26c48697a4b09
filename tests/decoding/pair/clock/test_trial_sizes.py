"""What is tried where costs are unknown: nothing that risks more than the stake."""

from __future__ import annotations

import random
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adec.decoding.pair.clock.cost_curve import (
    IMPLAUSIBLE,
    CostCurve,
    LearnedCurve,
    upper_bounds,
)
from adec.decoding.pair.clock.round_costs import RoundCosts
from adec.decoding.pair.clock.trial_sizes import STEPS, TrialSizes
from adec.decoding.registry import find_method
from adec.decoding.strategy import Aids, Limits
from adec.engines.pair import Engines
from adec.events.records import Forward, Step, Token
from tests.decoding.clock import Clock, Cost, TimedTable, cpu
from tests.laws import law, prompt_of

POINTS = st.dictionaries(st.integers(2, 128), st.floats(1.0, 20.0), max_size=5)
"""Sizes and their times in plain rounds."""


@given(POINTS, st.integers(2, 64), st.floats(1.0, 64.0), st.floats(0.0, 1.0), st.floats(0.0, 2.0))
def test_a_trial_risks_no_more_than_the_stake(points, size, tokens, spent, stake) -> None:
    points = {1: 1.0, **points}
    hopeful = CostCurve(points)
    cautious = CostCurve({**points, **upper_bounds(points)})
    sizes = TrialSizes(hopeful, cautious, plain_ms=1.0, stake=stake)
    ms = sizes.ms(size, tokens, spent)
    assert min(hopeful.ms(size), cautious.ms(size)) <= ms <= cautious.ms(size)
    if ms < cautious.ms(size):
        assert size in STEPS
        assert cautious.ms(size) + spent - tokens <= stake


def dips(count: int) -> float:
    """A 1.5B model in Q4_K_M on one thread: batches pay from sixteen tokens on."""
    rest = count % 16
    return 37.0 * count if count < 4 else 17.0 * (count - rest) + min(30.0 * rest, 300.0)


def linear(count: int) -> float:
    return 37.0 * count


def copier(prefix):
    """Says again what stood 80 tokens before."""
    row = [0.0] * 100
    row[prefix[-80] if len(prefix) >= 80 else 0] = 1.0
    return row


def misleads_first(prefix):
    """Like the copier, but for its first 40 tokens: there every repetition breaks off."""
    place = len(prefix) - 80
    if place >= 40:
        return copier(prefix)
    row = [0.0] * 100
    row[7 * (place // 3) % 100 if place % 3 == 2 else place % 3] = 1.0
    return row


def answer_ms(name: str, cost: Cost, target, curve: CostCurve | None, answers: int = 1):
    """Milliseconds of the last of some answers of 160 tokens."""
    clock = Clock()
    large = TimedTable(target, clock, cost, size=100, name="large", context=600)
    aids = Aids({} if curve is None else {"large": curve})
    method = find_method(name)
    strategy = method.build(Engines(large=large), method.settings(), aids)
    prompt = prompt_of(random.Random(3).sample(range(100), 80))
    with clock.installed():
        for _ in range(answers):
            steps = list(strategy.generate(prompt, Limits(160)))
    return sum(step.ms() for step in steps if step.kind != "prompt")


@pytest.mark.parametrize("name", ["speculate", "suffix", "lookup"])
def test_a_batch_that_pays_is_found_in_the_first_answer(name: str) -> None:
    known = CostCurve({n: dips(n) for n in range(1, 65)})
    best = answer_ms(name, dips, copier, known)
    plain = 160 * dips(1)
    assert best < plain / 1.7
    assert answer_ms(name, dips, copier, None) < plain / 1.4
    assert answer_ms(name, dips, copier, None, answers=2) < 1.06 * best


@pytest.mark.parametrize("name", ["speculate", "suffix", "lookup"])
def test_a_trial_that_failed_does_not_end_all_trials(name: str) -> None:
    known = CostCurve({n: dips(n) for n in range(1, 65)})
    best = answer_ms(name, dips, misleads_first, known, answers=3)
    assert best < 160 * dips(1) / 1.3
    assert answer_ms(name, dips, misleads_first, None, answers=3) < 1.06 * best


@pytest.mark.parametrize("name", ["speculate", "suffix", "lookup"])
def test_where_batches_do_not_pay_sure_copies_lose_nothing(name: str) -> None:
    plain = 160 * linear(1)
    assert answer_ms(name, linear, copier, None) < 1.01 * plain + linear(1)


@pytest.mark.parametrize("cost", [linear, dips, cpu(37.0, 12.0)])
@pytest.mark.parametrize("sharpness", [2.0, 8.0, 40.0])
def test_doubtful_copies_cost_a_hundredth_and_one_trial(cost: Cost, sharpness: float) -> None:
    """Whether what stood before comes again is a matter of chance."""
    losses = []
    for seed in range(5):
        target = law(100, seed, sharpness=sharpness, order=1)
        losses.append(answer_ms("speculate", cost, target, None) / (160 * cost(1)))
    assert median(losses) < 1.01
    assert max(losses) < 1.01 + cost(4) / (160 * cost(1))


def test_what_a_trial_won_pays_for_the_next() -> None:
    large = TimedTable(law(6, 1), Clock(), linear, size=6)
    costs = RoundCosts(large, CostCurve({1: 10.0, 64: 100.0}))
    for _ in range(10):
        costs.record(step(1, 10.0), plain=True)
    costs.record(step(1, 50.0), plain=False, explored=True)
    assert not costs.may_explore
    trials = costs.trial_sizes()
    assert trials is not None
    assert trials.ms(8, 7.9, 0.0) == 80.0  # in debt nothing is risked
    assert trials.ms(8, 8.0, 0.0) < 80.0
    costs.record(step(8, 30.0), plain=False, explored=True)
    assert costs.may_explore


def step(tokens: int, ms: float) -> Step:
    written = tuple(Token(1, "large") for _ in range(tokens))
    return Step("write", written, (Forward("small", "draft", 1, ms),))


@pytest.mark.parametrize("stopped", [1, 2, 3, 5, 8, 13, 21])
def test_a_process_that_was_stopped_goes_on_as_if_nothing_had_been(stopped: int) -> None:
    """One forward takes a minute; the answer after it is as fast as ever."""
    forwards = []

    def cost(count: int) -> float:
        forwards.append(count)
        return dips(count) + (60_000.0 if len(forwards) == stopped else 0.0)

    never = answer_ms("speculate", dips, copier, None, answers=3)
    assert answer_ms("speculate", cost, copier, None, answers=3) < 1.05 * never


@given(
    st.lists(st.sampled_from([1, 1, 1, 2, 4, 16, 200]), min_size=5, max_size=40),
    st.integers(0, 39),
    st.floats(20.0, 1000.0),
)
def test_a_stopped_forward_spoils_no_curve(sizes, place, times) -> None:
    curve = LearnedCurve()
    for number, size in enumerate([1, 1, *sizes]):
        curve.record(size, dips(size) * (times if number == place + 2 and size > 1 else 1.0))
    assert all(ms <= IMPLAUSIBLE * size * dips(1) for size, ms in curve.points.items())
