"""Which points run on, and which finer ones are tried."""

from __future__ import annotations

from adec.calibration.trials.measured import Measured
from adec.calibration.trials.trial import Point, Trial
from adec.calibration.trials.tryouts import halfway, safer, worth_more
from tests.calibration.tables import point

PLAIN = point("plain", 10.0, exact=True)
SPECULATE = point("speculate", 8.0, exact=True)


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
    assert worth_more([*exact, good, lossy, slow], 0.03) == [PLAIN, SPECULATE, exact[2], good]
    # the one that keeps most stays, so that something may be proved
    assert worth_more([*exact, lossy, slow], 0.03)[-1] is slow


def test_a_finer_threshold_is_tried_between_the_last_good_and_the_first_bad() -> None:
    def ead(up: float, ms: float, loss: float, window: int = 1) -> Measured:
        label = Point("ead", (("up", up), ("down", up), ("window", window), ("dwell", 0)))
        run = Trial((1,) * 11, "", 10 * ms, 0.0, 0, 0, 1)
        return Measured(label, False, runs=[run], losses=[loss], left=loss)

    safe, good, bad, worse = (
        ead(0.1, 9, 0.0), ead(0.4, 6, 0.02), ead(0.9, 4, 0.06), ead(1.6, 3, 0.3)
    )  # fmt: skip
    found = halfway([worse, safe, bad, good], 0.03)
    assert found == Point("ead", (("up", 0.6), ("down", 0.6), ("window", 1), ("dwell", 0)))
    assert halfway([safe, good], 0.03) is None
    assert halfway([bad, worse], 0.03) is None
    assert halfway([good, ead(0.9, 4, 0.06, window=5)], 0.03) is None
    assert halfway([good, ead(0.4001, 5, 0.5)], 0.03) is None
    found = safer([worse, safe, bad, good], 0.03)
    assert found == Point("ead", (("up", 0.2), ("down", 0.2), ("window", 1), ("dwell", 0)))
    assert safer([good, bad], 0.03) is None  # nothing beyond it
    assert safer([safe, good], 0.5) is None  # it loses little
