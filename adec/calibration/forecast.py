"""Speeds as they were to be expected from records and forward times alone, to be held against the runs.

A strategy runs on the records (`recorded.Simulator`), on the very prompts of its real runs; its forwards take what the cost tables say. Two
things are read off real runs: the pace of the machine, from plain decoding, and adec's own time, from a strategy's first runs
(`PILOT`), since caches are colder between real forwards than between replayed ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from adec.calibration.prompts import Prompt
from adec.calibration.recorded import Simulator
from adec.calibration.result import Measured
from adec.calibration.signals import Record
from adec.calibration.trial import Run

PILOT = 3
"""Runs from which a strategy's own time is read."""
SIMULATED = 40
"""Runs of a strategy that are foretold."""


def forecast(
    measured: Sequence[Measured],
    prompts: Sequence[Prompt],
    records: Sequence[Record],
    simulator: Simulator,
    tick: Callable[[float], None] = lambda share: None,
) -> None:
    """Fill in `forecast_ms` of every point that was run.

    The pace is what plain decoding's forwards took over what the tables say: a machine that warms up is not the one of the minute before. Plain
    decoding itself is foretold without it.
    """

    def foretold(point: Measured) -> float:
        """Forwards a token, milliseconds."""
        count = min(SIMULATED, len(point.runs))
        runs = [
            simulator.run(point.point, prompt, record)
            for prompt, record in zip(prompts[:count], records[:count], strict=True)
        ]
        return sum(r.ms - r.own_ms for r in runs) / max(1, sum(r.decoded for r in runs))

    plain = next(m for m in measured if m.point.strategy == "plain")
    pace = 1.0
    for number, point in enumerate([plain, *(m for m in measured if m is not plain)]):
        tick(number / len(measured))
        if not point.runs:
            continue
        forwards = foretold(point)
        point.forecast_ms = pace * forwards + _own_ms(point.runs[:PILOT])
        if point is plain and forwards > 0:
            seen = plain.runs[:SIMULATED]
            took = sum(r.ms - r.own_ms for r in seen) / max(1, sum(r.decoded for r in seen))
            pace = took / forwards


def _own_ms(runs: Sequence[Run]) -> float:
    """adec's own time of a token."""
    return sum(r.own_ms for r in runs) / max(1, sum(r.decoded for r in runs))
