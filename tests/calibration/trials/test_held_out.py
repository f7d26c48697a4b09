"""Which points go on and which are proved; how many prompts the proof asks."""

from __future__ import annotations

import pytest

from adec.calibration.trials.held_out import (
    LEAST,
    expected_losses,
    families_to_test,
    prompts_to_ask,
    to_test,
)
from adec.calibration.trials.trial import Point
from tests.calibration.tables import COUNT, point

PLAIN = point("plain", 10.0, exact=True)
SPECULATE = point("speculate", 8.0, exact=True)


def test_a_point_without_a_loss_is_not_held_for_lossless() -> None:
    """It leaves the path as often as its neighbour, which lost three: luck."""
    lucky, unlucky, safe = (
        point("ead", 5, 0, 0.2),
        point("ead", 5.1, 3, 0.2),
        point("ead", 7, 0, 0.01),
    )
    losses = expected_losses([lucky, unlucky, safe])
    assert 0.005 < losses[0] < losses[1] and losses[2] < 0.2 * losses[0]
    assert losses[1] < 3 / COUNT + 0.01
    (alone,) = expected_losses([point("ead", 5, 0, 0.0)])
    assert alone == 0


def test_points_of_another_rule_say_nothing_of_a_loss() -> None:
    """What the trusted model loses where it leaves the path, a judged one need not."""
    bad, good = point("ead", 5, 40, 0.5), point("ead", 6, 0, 0.5)
    alike = expected_losses([bad, good])[1]
    good.point = Point("ead", (*good.point.settings, ("accept", "tolerant")))
    assert expected_losses([bad, good])[1] < alike / 10


def test_the_proof_is_asked_for_the_fastest_that_it_should_prove_and_the_safest() -> None:
    family = [
        point("ead", ms, k, left)
        for ms, k, left in ((4, 8, 0.5), (5, 1, 0.1), (6, 1, 0.08), (7, 0, 0.01))
    ]
    chosen = to_test(family, 0.03, 0.975, 800, 8.0)
    assert [m.ms_per_token for m, _ in chosen] == [7, 5]
    assert [loss for _, loss in chosen] == sorted(loss for _, loss in chosen)
    # few prompts prove the safest at most
    assert [m.ms_per_token for m, _ in to_test(family, 0.03, 0.975, 30, 8.0)] == [7]
    # what is slower than what is exact is not worth the prompts
    assert all(m.ms_per_token < 6.5 for m, _ in to_test(family, 0.03, 0.975, 400, 6.5))
    assert to_test([], 0.03, 0.975, 400, 8.0) == []


def test_families_that_are_slower_than_what_is_exact_are_not_proved_but_for_one() -> None:
    quick, slow = point("ead", 5, 0, 0.01), point("cascade", 9, 0, 0.0)
    both = families_to_test([PLAIN, SPECULATE, quick, slow], 0.03, 0.95, 400)
    assert list(both) == ["ead"]
    alone = families_to_test([PLAIN, SPECULATE, slow], 0.03, 0.95, 400)
    assert list(alone) == ["cascade"]
    two = families_to_test([PLAIN, SPECULATE, quick, point("bild", 6)], 0.03, 0.95, 400)
    assert list(two) == ["ead", "bild"]
    assert families_to_test([PLAIN, SPECULATE], 0.03, 0.95, 400) == {}


def test_a_point_that_was_given_up_is_not_proved() -> None:
    early = point("ead", 3, 0, 0.0, n=12)
    assert (
        families_to_test([PLAIN, early, point("ead", 5)], 0.03, 0.95, 400)["ead"][0][0].ms_per_token
        == 5
    )


@pytest.mark.parametrize("affordable", [0, 50, 10_000])
def test_the_proof_asks_no_more_than_there_is_time_for_nor_than_should_do(affordable: int) -> None:
    sure = [(point("ead", 5), 0.001)]
    asked = prompts_to_ask(sure, 0.03, 0.975, held_out=2000, affordable=affordable, useful=0.9)
    assert asked == (LEAST if affordable == 0 else min(affordable, asked))
    if affordable == 10_000:
        assert 200 < asked < 500
        doubtful = [(point("ead", 5), 0.02)]
        assert (
            prompts_to_ask(doubtful, 0.03, 0.975, held_out=2000, affordable=affordable, useful=0.9)
            > asked
        )
        hopeless = [(point("ead", 5), 0.2)]
        assert (
            prompts_to_ask(hopeless, 0.03, 0.975, held_out=2000, affordable=affordable, useful=0.9)
            == 2000
        )
    assert prompts_to_ask(sure, 0.03, 0.975, held_out=2, affordable=9, useful=1.0) == 2
