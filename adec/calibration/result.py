"""What a calibration found: measured points, the front, the proof, and the choice that follows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean, median, stdev

from adec.calibration.costs import OUTLIER, CostTable
from adec.calibration.figures import Signals
from adec.calibration.lookahead import Learned
from adec.calibration.proof import Tested
from adec.calibration.trial import Metric, Point, Run
from adec.events.records import Role
from adec.machine import Machine

ADAPTS = 1.1
"""How much faster than speculate, which adapts to each prompt, another exact strategy must be to be recommended."""
PAYS = 1.02
"""A strategy must be faster by this factor to be recommended, and by more than both speeds are uncertain."""
SCATTERED = 0.1
"""Uncertainty of a speed, as a share of it, from which times are called too scattered to choose by."""
OUTLIERS_FROM = 8
"""Runs from which outliers can be told."""


@dataclass
class Measured:
    """A point that was really run, on prompts to fit on."""

    point: Point
    exact: bool
    forecast_ms: float | None = None
    """Milliseconds a token that were to be expected (see `forecast`)."""
    left: float = 0.0
    """Share of the recorded answers whose path it leaves by replay."""
    runs: list[Run] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    unlike: int = 0
    """Answers that differ from the large model's own."""
    fresh: list[Run] = field(default_factory=list)
    """Runs on held-out prompts."""

    @property
    def clean(self) -> list[Run]:
        """The runs without outliers."""
        return without_outliers(self.runs)

    @property
    def ms_per_token(self) -> float:
        return _ms_per_token(self.clean)

    @property
    def tokens_per_second(self) -> float:
        return 1000 / self.ms_per_token if self.ms_per_token > 0 else 0.0

    @property
    def spread(self) -> float:
        """One standard error of the tokens per second."""
        return _speed_error(self.clean)

    @property
    def off(self) -> float | None:
        """The forecast speed over the measured one, less 1; None where either is missing."""
        if not self.forecast_ms or not self.runs or self.ms_per_token <= 0:
            return None
        return self.ms_per_token / self.forecast_ms - 1

    @property
    def fresh_tokens_per_second(self) -> float | None:
        """Speed on held-out prompts; None where it was not run there."""
        runs = without_outliers(self.fresh)
        return 1000 / ms if (ms := _ms_per_token(runs)) > 0 else None

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
    def _tokens(self) -> int:
        return sum(len(run.tokens) for run in self.runs)

    @property
    def large_fed(self) -> float:
        """Tokens that the large model read while decoding, for each token written."""
        return sum(run.large_fed for run in self.runs) / max(1, self._tokens)


@dataclass
class Result:
    """A finished calibration."""

    metric: Metric
    keep: float
    confidence: float
    machine: Machine
    tables: dict[Role, CostTable]
    signals: Signals
    measured: list[Measured]
    tests: dict[str, list[Tested[Measured]]]
    held_out: int
    """Held-out prompts that the proof rests on."""
    thresholds: dict[Role, Learned] = field(default_factory=dict)
    """Of adadec, by the model that writes."""
    tried: dict[str, int] = field(default_factory=dict)
    """Family to the number of points that were replayed or simulated; of these the promising ones were run."""
    percentiles: dict[str, float] = field(default_factory=dict)
    """Thresholds of the chosen point as percentiles of the entropies they are held against."""
    remarks: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def plain(self) -> Measured:
        return next(m for m in self.measured if m.point.strategy == "plain")

    def plain_beside(self, measured: Measured) -> float:
        """Tokens per second of plain decoding on the prompts that a point was run on."""
        ms = _ms_per_token(without_outliers(self.plain.runs[: len(measured.runs)]))
        return 1000 / ms if ms > 0 else 0.0

    @property
    def exact(self) -> Measured:
        """The fastest exact strategy; plain where nothing pays; speculate, which stops by itself, where times cannot tell.

        Speculate also where another is hardly faster: the others go on drafting on prompts unlike these, where it does not pay.
        """
        exact = [m for m in self.measured if m.exact and m is not self.plain]
        # a point that was given up early was slow on the prompts that it had
        longest = max((len(m.runs) for m in exact), default=0)
        others = [m for m in exact if len(m.runs) == longest]
        best = max(others, key=lambda m: m.tokens_per_second, default=self.plain)
        careful = next((m for m in others if m.point.strategy == "speculate"), self.plain)
        if faster(best, self.plain):
            near = ADAPTS * careful.tokens_per_second >= best.tokens_per_second
            return careful if near and faster(careful, self.plain) else best
        return careful if self.scattered and not faster(self.plain, careful) else self.plain

    @property
    def scattered(self) -> bool:
        """Whether the times are too uncertain to choose by."""
        plain = self.plain
        return plain.spread > SCATTERED * plain.tokens_per_second

    @property
    def proved(self) -> Tested[Measured] | None:
        """The fastest point that is proved to keep the budget."""
        good = [t for tests in self.tests.values() for t in tests if t.proved]
        return max(good, key=lambda t: t.point.tokens_per_second, default=None)

    @property
    def budget(self) -> Tested[Measured] | None:
        """The point of the budget: the proved one, else the one nearest to a proof."""
        if self.proved is not None:
            return self.proved
        tested = [t for tests in self.tests.values() for t in tests if t.reached]
        return min(
            tested, key=lambda t: (t.more_prompts is None, t.more_prompts or 0), default=None
        )

    @property
    def within_budget(self) -> Measured | None:
        """The fastest strategy within the proved budget, the exact one included; None when no approximate one is faster."""
        proved = self.proved
        if proved is None:
            return None
        return proved.point if faster(proved.point, self.exact) else None

    @property
    def recommended(self) -> Measured:
        return self.within_budget or self.exact


def faster(first: Measured, second: Measured) -> bool:
    """Whether the first is faster by more than a trifle and by more than is uncertain."""
    ahead = first.tokens_per_second - second.tokens_per_second
    return ahead > (PAYS - 1) * second.tokens_per_second and ahead > math.hypot(
        first.spread, second.spread
    )


def _ms_per_token(runs: Sequence[Run]) -> float:
    return sum(run.ms for run in runs) / max(1, sum(run.decoded for run in runs))


def _speed_error(runs: Sequence[Run]) -> float:
    """One standard error of tokens per second."""
    ratio = _ms_per_token(runs)
    if ratio <= 0:
        return 0.0
    error = _ratio_error([r.ms - ratio * r.decoded for r in runs], sum(r.decoded for r in runs))
    return 1000 / ratio * error / ratio


def _ratio_error(rests: Sequence[float], total: int) -> float:
    """One standard error of a ratio of sums over prompts, by linearisation."""
    if len(rests) < 2 or not total:
        return 0.0
    return stdev(rests) * math.sqrt(len(rests)) / total


def without_outliers(runs: list[Run]) -> list[Run]:
    """The runs but those whose time per token is far from the others' median (hyperfine's rule)."""
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
