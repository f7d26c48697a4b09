"""When a block is full: a made-up curve, and chances that are handed in."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adec.decoding.pair.clock.cost_curve import CostCurve
from adec.decoding.pair.clock.kept_curve import kept_curve
from adec.decoding.pair.clock.wake_clock import Block, WakeClock, hoped_ms
from adec.events.records import Forward, Step, Token
from tests.laws import pair

STEPS = CostCurve(
    {1: 38, 2: 75, 3: 114, 4: 140, 6: 196, 8: 242, 11: 308, 12: 313, 16: 267, 20: 389, 32: 471}
)
"""A model of 1.5 billion parameters on one core: sixteen tokens cost what nine do."""


def block(curve=STEPS, *, draft_ms=13.0, steady=0.95, most=64, unread=1) -> Block:
    return Block(curve, unread=unread, draft_ms=draft_ms, steady=steady, most=most)


def length(made: Block, chances) -> int:
    """How many drafts there are when the large model wakes."""
    for chance in chances:
        if not made.waits() or not made.waits(chance):
            break
        made.add(chance)
    return made.drafts


def test_a_sure_block_is_filled_up_to_a_step_of_the_curve() -> None:
    flat_to_16 = CostCurve({1: 40, 2: 150, 16: 200, 17: 400, 64: 1600})
    assert length(block(flat_to_16, draft_ms=5.0), [0.99] * 64) == 15


def test_where_batches_save_nothing_no_block_is_begun() -> None:
    no_gain = CostCurve({n: 38.0 * n for n in range(1, 65)})
    assert length(block(no_gain), [1.0] * 64) == 0


def test_a_flat_curve_waits_for_as_many_as_there_is_room() -> None:
    assert length(block(CostCurve({1: 38, 64: 38}), steady=1.0, most=20), [1.0] * 64) == 20


def test_a_grave_doubt_wakes_where_a_slight_one_waits() -> None:
    grave, slight = block(), block()
    for made in (grave, slight):
        for _ in range(3):
            made.add(0.99)
    assert slight.waits(0.9)
    assert not grave.waits(0.01)


def test_an_early_doubt_can_be_outwaited_where_reading_is_cheap() -> None:
    """The tail behind a doubt falls with it: what waits costs decides whether it is written."""
    chances = [0.99, 0.8] + [0.99] * 20
    cheap = length(block(CostCurve({1: 38, 64: 40}), draft_ms=2.0, most=15), chances)
    expensive = length(block(CostCurve({1: 38, 2: 40, 64: 1600}), draft_ms=2.0, most=15), chances)
    assert cheap == 15
    assert expensive <= 2


def test_a_tail_that_climbed_towards_a_step_in_vain_is_not_read() -> None:
    made = block()
    for chance in (0.99, 0.99, 0.01, 0.99):
        made.add(chance)
    assert made.best() < 4


@given(
    st.lists(st.floats(0.01, 1), max_size=40),
    st.integers(1, 40),
    st.integers(1, 30),
    st.floats(0, 60),
)
def test_a_block_never_exceeds_its_room(chances, most, unread, draft_ms) -> None:
    made = block(draft_ms=draft_ms, most=most, unread=unread)
    assert length(made, chances) <= most
    assert 0 <= made.best() <= made.drafts


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=30))
def test_what_is_read_is_worth_its_forward(chances) -> None:
    """Reading fewer drafts would save less time than the tokens lost take in a block as hoped."""
    made = block()
    expected, reach = [1.0], 1.0
    for chance in chances:
        made.add(chance)
        reach *= chance
        expected.append(expected[-1] + reach)
    hoped = [sum(0.95**i for i in range(n + 1)) for n in range(33)]
    token_ms = min((13 * n + STEPS.ms(1 + n)) / tokens for n, tokens in enumerate(hoped))
    saved = [tokens * token_ms - STEPS.ms(1 + n) for n, tokens in enumerate(expected)]
    assert saved[made.best()] == pytest.approx(max(saved))


def test_one_lone_draft_is_not_read_where_two_tokens_cost_twice_one() -> None:
    made = block(steady=0.98)
    made.add(0.99)
    assert not made.waits(0.05)
    assert made.best() == 0


def clock(curve=STEPS) -> WakeClock:
    small, large = pair()
    return WakeClock(small, large, curve=curve, small_curve=CostCurve({1: 13, 8: 60}))


def test_what_was_judged_moves_the_chance() -> None:
    known = clock()
    before = known.chance(0.6)
    for _ in range(20):
        known.judged([0.6, 0.92], 0)  # the first fell: of the second nothing is known
    assert known.chance(0.6) < before / 2
    sure = known.chance(0.92)
    for _ in range(20):
        known.judged([0.92], 1)
    assert known.chance(0.92) > sure


def test_no_block_while_forward_times_are_unknown() -> None:
    known = clock(None)
    assert known.block(1, 40) is None
    for _ in range(3):
        known.account(Step("write", (), (Forward("large", "write", 1, 38.0),), 0.1))
    assert known.block(1, 40) is not None
    assert known.block(1, 0) is None


def test_losing_blocks_are_paused_and_tried_again() -> None:
    known = clock()
    read = Forward("small", "draft", 1, 13.0), Forward("large", "verify", 16, 267.0)
    lost = Step("wake", (token(),), read, 0.1, drafted=15, accepted=0)
    rounds = 0
    while known.block(1, 40) is not None:
        known.account(lost)
        rounds += 1
    assert 1 <= rounds <= 5
    plain = Step("write", (token(),), (Forward("large", "write", 1, 38.0),), 0.1)
    waited = 0
    while known.block(1, 40) is None:
        known.account(plain)
        waited += 1
        assert waited < 1000
    assert waited >= 16


def test_one_block_is_filled_to_learn_what_sixteen_tokens_cost() -> None:
    known = clock(CostCurve({1: 38, 4: 140, 128: 2300}))
    made = known.block(2, 40)
    assert made is not None
    assert length(made, [0.9, *[0.1] * 40]) == 14
    assert made.best() == 14
    known.account(
        Step("wake", (token(),), (Forward("large", "verify", 16, 267.0),), 0.1, drafted=14)
    )
    again = known.block(1, 40)
    assert again is None or length(again, [0.9, *[0.1] * 40]) < 14


@given(st.floats(0.5, 1), st.floats(0, 60), st.integers(0, 64))
def test_hoped_times_are_never_above_plain_ones_and_fall_with_acceptance(
    steady, draft_ms, most
) -> None:
    hoped = hoped_ms(STEPS, draft_ms=draft_ms, steady=steady, most=most)
    assert hoped <= STEPS.ms(1)
    assert hoped_ms(STEPS, draft_ms=draft_ms, steady=1.0, most=most) <= hoped


def test_a_prompt_is_read_where_the_rest_of_the_answer_wins_it_back() -> None:
    """By the curve above a token takes 33 ms instead of 38, and reading 150 tokens a second."""
    known = clock()

    def pays(written: int, left: int, read: int = 150) -> bool:
        forecast = known.forecast(read=read, written=written, left=left)
        assert forecast is not None
        assert 38 / 34 < forecast.speed < 38 / 33
        return forecast.pays

    assert not pays(0, 1000)
    assert not pays(100, 1000)
    assert pays(400, 1000)
    assert not pays(400, 100)
    assert pays(0, 1000, read=10)
    assert clock(None).forecast(read=10, written=0, left=100) is None


def test_a_forecast_follows_what_was_judged_before_and_outlives_an_answer() -> None:
    known = clock()
    first = known.forecast(read=10, written=0, left=100)
    for _ in range(200):
        known.judged([0.5], 0)
        known.chance(0.5)
    known.new_answer()
    later = known.forecast(read=10, written=0, left=100)
    assert first is not None and later is not None
    assert first.pays and not later.pays


def test_the_small_models_times_are_kept_from_run_to_run(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ADEC_HOME", str(tmp_path))
    small, large = pair()
    for engine in (small, large):
        engine.info = replace(engine.info, format="gguf")
    known = WakeClock(small, large)
    for _ in range(9):
        read = Forward("small", "draft", 1, 13.0), Forward("large", "verify", 16, 267.0)
        known.account(Step("wake", (token(),), read, 0.1, drafted=15, accepted=15))
    known.read(Step("prompt", (), (Forward("small", "prompt", 64, 320.0),)))
    known.keep()
    kept = kept_curve(small)
    assert kept is not None and kept.points == {1: 13.0, 64: 320.0}
    again = WakeClock(small, large)
    assert again.draft_ms(STEPS) == 13.0


def test_what_was_trusted_counts_with_the_wake_that_reads_it() -> None:
    """Thirty cheap tokens and one dear wake: together they beat plain decoding."""
    known = clock()
    trusted = Step("draft", (token(),), (Forward("small", "draft", 1, 13.0),), 0.1)
    read = Forward("small", "draft", 1, 13.0), Forward("large", "verify", 32, 471.0)
    wake = Step("wake", (token(),), read, 0.1, drafted=1)
    for _ in range(10):
        for _ in range(30):
            known.account(trusted)
        known.account(wake)
    assert known.backoff.state == "drafting"
    for _ in range(10):
        known.account(wake)
    assert known.backoff.state == "paused"


def token() -> Token:
    return Token(1, "large", "written")
