"""How often a proved budget does not hold: whole calibrations on fresh pairs and prompts, each
proved point judged on prompts it never saw.

python -m tests.calibration.coverage -n 200 --confidence 0.95
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

from adec.calibration.trials.proof import upper_bound
from adec.calibration.trials.trial import Point, Runner, disagreement
from adec.calibration.wishes import Wishes
from adec.engines.pair import Engines
from tests.calibration.tables import calibration, engines, plan_of, prompts

LEVEL = 0.25
"""Mean disagreement that is budgeted: large, so that few prompts prove it and the test is quick."""
TOKENS = 6
FRESH = 150
CLEARLY = 2.6
"""Standard errors by which the loss on fresh prompts must lie above the level to count as a
failure: it is an estimate itself."""


@dataclass
class Coverage:
    """What became of all calibrations."""

    calibrations: int = 0
    proved: int = 0
    failed: int = 0


def coverage(repeats: int, confidence: float, *, held_out: int = 28, seed: int = 0) -> Coverage:
    """Repeat calibrations; a calibration fails when any point that it calls proved is clearly
    above the level."""
    found = Coverage()
    wishes = Wishes(keep=1 - LEVEL, confidence=confidence, seconds=1e6, max_tokens=TOKENS)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(seed, seed + repeats):
            pair = engines(100 + number)
            asked = prompts(number, 8 + held_out, fit=8)
            result = calibration(Path(folder) / str(number), pair, asked, wishes).run()
            points = [t.point.point for tests in result.tests.values() for t in tests if t.proved]
            found.calibrations += 1
            found.proved += bool(points)
            found.failed += any(_is_above(pair, point, number) for point in points)
    return found


def _is_above(pair: Engines, point: Point, seed: int) -> bool:
    """Whether the mean loss on fresh prompts is clearly above the level."""
    runner = Runner(plan_of(pair), pair, max_tokens=TOKENS)
    losses = []
    for prompt in prompts(1_000_000 + seed, FRESH, fit=FRESH).fit:
        own, run = runner.run(Point("plain"), prompt), runner.run(point, prompt)
        losses.append(disagreement(own.tokens, run.tokens))
    mean = sum(losses) / len(losses)
    error = (sum((x - mean) ** 2 for x in losses) / len(losses) ** 2) ** 0.5
    return mean - CLEARLY * error > LEVEL


def main() -> None:
    """Print the count and what it says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=200, help="calibrations")
    parser.add_argument("--confidence", type=float, default=0.95)
    parser.add_argument("--held-out", type=int, default=28, help="held-out prompts of each")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    found = coverage(options.n, options.confidence, held_out=options.held_out, seed=options.seed)
    outcomes = [1.0] * found.failed + [0.0] * (found.calibrations - found.failed)
    print(
        f"{found.calibrations} calibrations at {options.confidence:.0%}: "
        f"{found.proved} proved something, "
        f"{found.failed} of these wrongly; allowed {1 - options.confidence:.0%}, "
        f"at most {upper_bound(outcomes, 0.95):.1%} by these (95 %)"
    )


if __name__ == "__main__":
    main()
