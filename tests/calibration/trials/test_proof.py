"""The proof: order, correction, and how often it errs."""

from __future__ import annotations

import numpy as np
import pytest

from adec.calibration.trials.proof import binomial_tail, prove

ALLOWED = 1e-4
"""Chance that a test of coverage here fails although the bound keeps its promise."""


def false_proofs(repeats: int, confidence: float, seed: int, draw) -> int:
    """How often something false is proved; `draw(rng)` gives families of (true mean, losses)."""
    rng = np.random.default_rng(seed)
    wrong = 0
    for _ in range(repeats):
        families = draw(rng)
        tests = prove(families, 0.1, confidence)
        wrong += any(t.proved and t.point > 0.1 for found in tests.values() for t in found)
    return wrong


def binary(rng, truth: float, n: int) -> tuple[float, list[float]]:
    return truth, (rng.random(n) < truth).astype(float).tolist()


def between(rng, truth: float, n: int) -> tuple[float, list[float]]:
    """Losses of mean `truth`: mostly nothing, now and then half an answer, as in practice."""
    hit = rng.random(n) < truth / 0.5
    return truth, np.where(hit, rng.uniform(0, 1, n), 0.0).tolist()


@pytest.mark.parametrize("loss", [binary, between])
@pytest.mark.parametrize("prompts", [30, 120])
def test_what_is_false_is_proved_at_most_as_rarely_as_stated(loss, prompts: int) -> None:
    """All points lie a hair above the level: the worst case. Of 400 calibrations at 90 %, how many
    may err is a binomial tail."""
    repeats, confidence = 400, 0.9
    wrong = false_proofs(
        repeats,
        confidence,
        seed=prompts,
        draw=lambda rng: {
            "ead": [loss(rng, 0.1001, prompts), loss(rng, 0.1002, prompts)],
            "cascade": [loss(rng, 0.1001, prompts)],
        },
    )
    assert 1 - binomial_tail(wrong - 1, repeats, 1 - confidence) > ALLOWED


def test_without_the_correction_it_would_err_too_often() -> None:
    """The test above can fail: eight families, each tested at the full error, prove something
    false far more often."""
    rng = np.random.default_rng(3)
    wrong = 0
    for _ in range(400):
        found = [
            prove({"one": [binary(rng, 0.1001, 120)]}, 0.1, 0.9)["one"][0].proved for _ in range(8)
        ]
        wrong += any(found)
    assert 1 - binomial_tail(wrong - 1, 400, 0.1) < ALLOWED


def test_a_sequence_stops_at_the_first_that_is_not_proved() -> None:
    good, bad = [0.0] * 100, [1.0] * 100
    tests = prove({"ead": [("safe", good), ("middle", bad), ("cheap", good)]}, 0.05, 0.95)["ead"]
    assert [test.proved for test in tests] == [True, False, False]
    assert [test.tested for test in tests] == [True, True, False]


def test_families_share_the_error_and_points_of_one_do_not() -> None:
    losses = [0.0] * 70  # p-value 0.95^70 = 0.0276: enough for one family at 95 %, not for two
    one = prove({"ead": [("a", losses), ("b", losses)]}, 0.05, 0.95)["ead"]
    assert all(test.proved for test in one)
    two = prove({"ead": [("a", losses)], "cascade": [("b", losses)]}, 0.05, 0.95)
    assert not any(test.proved for tests in two.values() for test in tests)
    assert two["ead"][0].more_prompts == 2  # ceil(log 0.025 / log 0.95) = 72


def test_what_cannot_be_proved_says_so() -> None:
    (test,) = prove({"ead": [("a", [0.4] * 50)]}, 0.1, 0.95)["ead"]
    assert test.more_prompts is None and not test.proved
    # one loss among 31 is past 3 %, but may well be bad luck: more prompts may help
    (unlucky,) = prove({"ead": [("a", [1.0] + [0.0] * 30)]}, 0.03, 0.95)["ead"]
    assert not unlucky.proved and 100 < unlucky.more_prompts < 1000
    (bad,) = prove({"ead": [("a", [1.0] * 7 + [0.0] * 40)]}, 0.03, 0.95)["ead"]
    assert bad.more_prompts is None
    (none,) = prove({"ead": [("a", [])]}, 0.1, 0.95)["ead"]
    assert none.more_prompts == 29 and not none.proved
