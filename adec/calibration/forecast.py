"""Speeds as they were to be expected from records and forward times alone, to be held against the runs.

A strategy runs on the records (`recorded.Simulator`), on the very prompts of its real runs; its forwards take what the cost tables say. Two
things are read off real runs: the pace of the machine, from plain decoding, and adec's own time, from a strategy's first runs
(`PILOT`), since caches are colder between real forwards than between replayed ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

from adec.calibration.prompts import Prompt
from adec.calibration.recorded import Simulator
from adec.calibration.result import Measured, without_outliers
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

    def foretold(point: Measured) -> list[Run]:
        count = min(SIMULATED, len(point.runs))
        return [
            simulator.run(point.point, prompt, record)
            for prompt, record in zip(prompts[:count], records[:count], strict=True)
        ]

    plain = next(m for m in measured if m.point.strategy == "plain")
    expected = foretold(plain)
    for number, point in enumerate(measured):
        tick(number / len(measured))
        if not point.runs:
            continue
        if point is plain:
            pace, runs = 1.0, expected
        else:
            runs = foretold(point)
            # a point that was given up early ran beside the first of plain's runs
            pace = forwards_ms(without_outliers(plain.runs[: len(runs)])) / max(
                1e-9, forwards_ms(expected[: len(runs)])
            )
        point.forecast_ms = pace * forwards_ms(runs) + own_ms(point.runs[:PILOT])


def forwards_ms(runs: Sequence[Run]) -> float:
    """Forwards of a token, milliseconds."""
    return sum(r.ms - r.own_ms for r in runs) / max(1, sum(r.decoded for r in runs))


def own_ms(runs: Sequence[Run]) -> float:
    """adec's own time of a token, the median of runs: a pause of the process falls into one of them."""
    return median([r.own_ms / max(1, r.decoded) for r in runs]) if runs else 0.0
