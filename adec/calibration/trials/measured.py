"""What the runs of a point add up to: speed, quality and how far to trust them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median, stdev
from typing import Protocol, TypeVar

from adec.calibration.costs.cost_tables import OUTLIER
from adec.calibration.trials.trial import Point, Trial

OUTLIERS_FROM = 8
"""Fewest runs among which outliers are looked for."""


@dataclass
class Measured:
    """A point that was run, on prompts to fit on."""

    point: Point
    exact: bool
    forecast_ms: float | None = None
    """Milliseconds a token as the simulation predicts them (see `simulate.forecast`)."""
    left: float = 0.0
    """Share of the recorded answers whose path it leaves when it is simulated."""
    runs: list[Trial] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    unlike: int = 0
    """Answers that differ from the large model's own."""
    fresh: list[Trial] = field(default_factory=list)
    """Runs on held-out prompts."""

    @property
    def ms_per_token(self) -> float:
        """Without outliers, as all speeds here."""
        return ms_per_token(without_outliers(self.runs))

    @property
    def run_ms(self) -> float:
        """Decoding time of a run in milliseconds, in the mean."""
        decoded = sum(run.decoded for run in self.runs)
        return self.ms_per_token * decoded / max(1, len(self.runs))

    @property
    def tokens_per_second(self) -> float:
        return 1000 / self.ms_per_token if self.ms_per_token > 0 else 0.0

    @property
    def spread(self) -> float:
        """One standard error of the tokens per second."""
        return _speed_error(without_outliers(self.runs))

    @property
    def off(self) -> float | None:
        """The forecast speed over the measured one, less 1; None where either is missing."""
        if not self.forecast_ms or not self.runs or self.ms_per_token <= 0:
            return None
        return self.ms_per_token / self.forecast_ms - 1

    @property
    def fresh_tokens_per_second(self) -> float | None:
        """Speed on held-out prompts; None where it was not run there."""
        ms = ms_per_token(without_outliers(self.fresh))
        return 1000 / ms if ms > 0 else None

    @property
    def fresh_spread(self) -> float:
        """One standard error of that."""
        return _speed_error(without_outliers(self.fresh))

    @property
    def quality(self) -> float:
        """Mean of the metric, 0 to 1."""
        return 1 - fmean(self.losses) if self.losses else 1.0

    @property
    def quality_spread(self) -> float:
        """One standard error of the quality."""
        count = len(self.losses)
        return stdev(self.losses) / math.sqrt(count) if count > 1 else 0.0

    @property
    def large_share(self) -> float:
        """Share of the tokens that the large model wrote."""
        return sum(run.large_tokens for run in self.runs) / max(1, self._tokens)

    @property
    def large_share_spread(self) -> float:
        """One standard error of that share."""
        share = self.large_share
        return _ratio_error(
            [r.large_tokens - share * len(r.tokens) for r in self.runs], self._tokens
        )

    @property
    def large_fed(self) -> float:
        """Tokens that the large model read while decoding, for each token written."""
        return sum(run.large_fed for run in self.runs) / max(1, self._tokens)

    @property
    def bought(self) -> tuple[float, float, float] | None:
        """Requests, tokens read and tokens written of an answer in the mean; None where nothing is
        bought."""
        bought = [run.bought for run in self.runs if run.bought is not None]
        if not bought:
            return None
        return (
            fmean(b.requests for b in bought),
            fmean(b.read for b in bought),
            fmean(b.written for b in bought),
        )

    @property
    def _tokens(self) -> int:
        return sum(len(run.tokens) for run in self.runs)


def ms_per_token(runs: Sequence[Trial]) -> float:
    """Milliseconds of decoding for a token, over all runs."""
    return sum(run.ms for run in runs) / max(1, sum(run.decoded for run in runs))


def own_ms_per_round(runs: Sequence[Trial]) -> float:
    """The strategy's own time for a forward of the large model, in milliseconds."""
    return sum(r.own_ms for r in runs) / max(1, sum(r.large_forwards for r in runs))


def without_outliers(runs: list[Trial]) -> list[Trial]:
    """The runs but those whose time per token is far from the median (hyperfine's rule)."""
    speeds = [run.ms / max(1, run.decoded) for run in runs]
    if len(speeds) < OUTLIERS_FROM:
        return runs
    middle = median(speeds)
    sigma = 1.4826 * median(abs(speed - middle) for speed in speeds)
    return [
        run
        for run, speed in zip(runs, speeds, strict=True)
        if abs(speed - middle) <= OUTLIER * sigma
    ] or runs


class Tradeoff(Protocol):
    """Something with a speed and a quality."""

    @property
    def ms_per_token(self) -> float: ...

    @property
    def quality(self) -> float: ...


T = TypeVar("T", bound=Tradeoff)


def front(points: Iterable[T]) -> list[T]:
    """The points that no other one beats in both speed and quality, fastest first."""
    best: list[T] = []
    for point in sorted(points, key=lambda p: (p.ms_per_token, -p.quality)):
        if not best or point.quality > best[-1].quality:
            best.append(point)
    return best


def _speed_error(runs: Sequence[Trial]) -> float:
    """One standard error of tokens per second."""
    ratio = ms_per_token(runs)
    if ratio <= 0:
        return 0.0
    error = _ratio_error([r.ms - ratio * r.decoded for r in runs], sum(r.decoded for r in runs))
    return 1000 / ratio * error / ratio


def _ratio_error(rests: Sequence[float], total: int) -> float:
    """One standard error of a ratio of sums over prompts, by linearisation."""
    if len(rests) < 2 or not total:
        return 0.0
    return stdev(rests) * math.sqrt(len(rests)) / total
