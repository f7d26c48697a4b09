"""When a drafter pauses and when it is tried again."""

from __future__ import annotations

import random

import pytest

from adec.decoding.pair.clock.backoff import TRIES, TRIES_FREE, WAIT, WAIT_MOST, Backoff
from adec.decoding.pair.clock.candidate import CandidateDrafter
from adec.decoding.pair.drafters.drafter import Proposal, empty
from adec.decoding.pair.drafters.small_model import SmallModel
from adec.engines.table import TableEngine
from adec.tree import TokenTree
from tests.laws import law


def test_it_gives_up_within_a_few_rounds_and_probes_rarely() -> None:
    backoff = Backoff()
    used = 0
    for _ in range(1000):
        if backoff.state == "paused":
            backoff.sat_out()
        else:
            backoff.record(1, 20.0, 10.0)  # never accepted, twice the time
            used += 1
    assert backoff.speed == pytest.approx(0.5)
    assert used <= TRIES + 2 * 8
    assert 1 - used / 1000 > 0.97


def test_a_good_drafter_stays_and_a_lapse_is_forgiven() -> None:
    backoff = Backoff()
    rng = random.Random(3)
    for _ in range(500):
        backoff.record(1 + rng.choice([0, 1, 2, 3]), 16.0, 10.0)  # 2.5 tokens for 1.6 plain rounds
        assert backoff.state == "drafting" or backoff.speed is None


def test_it_comes_back_when_drafting_pays_again() -> None:
    backoff = Backoff()
    for _ in range(TRIES):
        backoff.record(1, 20.0, 10.0)
    assert backoff.state == "paused"
    waited = 0
    while backoff.state == "paused":
        backoff.sat_out()
        waited += 1
    assert waited == WAIT < WAIT_MOST
    assert backoff.record(4, 20.0, 10.0) is False
    assert backoff.record(4, 20.0, 10.0) is True
    assert backoff.state == "drafting"


def test_a_copy_is_taken_up_again_however_often_drafts_failed_before() -> None:
    backoff = Backoff(free=True)
    for _ in range(40):
        if backoff.state == "drafting":
            backoff.record(1, 20.0, 10.0)
    assert backoff.state == "paused"
    backoff.resume_if_convinced(7)
    assert backoff.state == "paused"
    backoff.resume_if_convinced(8)
    assert backoff.state == "drafting"
    for _ in range(TRIES_FREE):
        backoff.record(1, 20.0, 10.0)
    backoff.resume_if_convinced(15)  # it was wrong to trust eight
    assert backoff.state == "paused"
    backoff.resume_if_convinced(16)
    assert backoff.state == "drafting"


def test_a_small_model_that_has_nothing_runs_less_and_less() -> None:
    candidate = CandidateDrafter(SmallModel(TableEngine(law(6, 1), size=6)))
    pauses = []
    for _ in range(8):
        candidate.count_run(empty())
        pauses.append(candidate.rest)
    assert pauses == [0, 1, 2, 4, 8, 16, 16, 16]
    candidate.count_run(Proposal(TokenTree.chain([1]), ["small"], [0.9]))
    candidate.count_run(empty())
    assert candidate.rest == 0
    candidate.count_run(empty())
    assert candidate.rest == 1


def test_a_new_answer_begins_with_what_was_learnt_but_not_shut_out() -> None:
    candidate = CandidateDrafter(SmallModel(TableEngine(law(6, 1), size=6)))
    for _ in range(40):
        candidate.rates.observe(0.95, 0, 0, False)
    for _ in range(TRIES):
        candidate.backoff.record(1, 30.0, 10.0)
    assert candidate.backoff.state == "paused"
    candidate.new_answer()
    assert candidate.backoff.state == "drafting"
    known = candidate.rates.accepted(0.95, 0)
    assert known < 0.5
    for _ in range(6):
        candidate.rates.observe(0.95, 0, 0, True)
    assert candidate.rates.accepted(0.95, 0) > known + 0.25
