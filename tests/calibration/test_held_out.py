"""Which points go on and which are proved; how many prompts the proof asks."""

from __future__ import annotations

import pytest

from adec.calibration.choose import Candidate, promising
from adec.calibration.held_out import (
    LEAST,
    expected_losses,
    families_to_test,
    prompts_to_ask,
    to_test,
)
from adec.calibration.trial import Measured, Point, Run
from adec.calibration.tryouts import _worth_more

COUNT = 80


def point(
    name: str,
    ms: float,
    failures: int = 0,
    left: float = 0.0,
    *,
    exact: bool = False,
    n: int = COUNT,
) -> Measured:
    """A point with `failures` lost among n prompts, `ms` a token. Its knob is its place on the scale of time."""
    settings = () if exact else (("up", 1 / ms),)
    runs = [Run((1,) * 11, "", 10 * ms, 0.0, 0, 0, 1)] * n
    losses = [1.0] * failures + [0.0] * (n - failures)
    return Measured(Point(name, settings), exact, runs=runs, losses=losses, left=left)


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


def test_hopeless_points_are_given_up_and_the_yardsticks_never() -> None:
    exact = [
        PLAIN,
        SPECULATE,
        *(
            point(name, ms, exact=True)
            for name, ms in (("dyspec", 7), ("adaedl", 20), ("smartspec", 30))
        ),
    ]
    good, lossy, slow = point("ead", 5, 1), point("ead", 3, 40), point("cascade", 15)
    assert _worth_more([*exact, good, lossy, slow], 0.03) == [PLAIN, SPECULATE, exact[2], good]
    # the one that keeps most stays, so that something may be proved
    assert _worth_more([*exact, lossy, slow], 0.03)[-1] is slow


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


def test_promising_points_lie_about_the_budget() -> None:
    known = [
        Candidate(Point("ead", (("up", least),)), least, 1.0, 1 + 10 * least, 0.0, 0.0)
        for least in (0.5, 0.8, 0.9, 0.95, 0.975, 0.99, 0.999)
    ]
    found = [c.least for c in promising(known, 0.97, 3)]
    assert found == [0.975, 0.99, 0.95]
    assert promising(known[:1], 0.97, 3) == known[:1]
