"""What a calibration found: measured points, the front, the proof, and the choice that follows."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from adec.answering.purchases import MILLION
from adec.calibration.costs.cost_tables import CostTable
from adec.calibration.replay.agreement import Agreement
from adec.calibration.replay.grids import ADAPTIVE
from adec.calibration.replay.pause_thresholds import Learned
from adec.calibration.trials.measured import Measured, ms_per_token, without_outliers
from adec.calibration.trials.proof import Tested
from adec.calibration.trials.trial import Metric
from adec.engines.remote.bill import Bill
from adec.events.records import Role
from adec.machine import Machine
from adec.profiles.schema import Prices

ADAPTS = 1.1
"""Factor by which another exact strategy must beat the adaptive one to be recommended."""
PAYS = 1.02
"""Factor by which a strategy must be faster to be recommended, and by more than the speeds'
errors."""
SCATTERED = 0.1
"""Standard error of a speed, as a share of it, from which times are too scattered to choose by."""


@dataclass(frozen=True)
class Server:
    """The server that the large model is behind, and what the calibration bought of it."""

    place: str
    request_ms: float
    """Until the first token of an answer."""
    token_ms: float
    """Between tokens of an answer that is read as it arrives."""
    bill: Bill
    prices: Prices | None = None

    def cost(self, measured: Measured) -> float | None:
        """Money of an answer in the mean; None where no prices are known."""
        bought = measured.bought
        if self.prices is None or bought is None:
            return None
        return (self.prices.read * bought[1] + self.prices.written * bought[2]) / MILLION


@dataclass
class Result:
    """A finished calibration."""

    metric: Metric
    keep: float
    confidence: float
    machine: Machine
    tables: dict[Role, CostTable]
    agreement: Agreement
    measured: list[Measured]
    tests: dict[str, list[Tested[Measured]]]
    held_out: int
    """Held-out prompts that the proof rests on."""
    thresholds: dict[Role, Learned] = field(default_factory=dict)
    """Of adadec, by the model that writes."""
    tried: dict[str, int] = field(default_factory=dict)
    """Family to the number of points that were simulated; the promising ones of these were run."""
    percentiles: dict[str, float] = field(default_factory=dict)
    """Thresholds of the chosen point as percentiles of the entropies they are held against."""
    remarks: list[str] = field(default_factory=list)
    seconds: float = 0.0
    server: Server | None = None
    """Where the large model is behind one; then `tables` has no times of it."""

    @property
    def plain(self) -> Measured:
        return next(m for m in self.measured if m.point.is_yardstick)

    def plain_beside(self, measured: Measured) -> float:
        """Tokens per second of plain decoding on the prompts that a point was run on."""
        ms = ms_per_token(without_outliers(self.plain.runs[: len(measured.runs)]))
        return 1000 / ms if ms > 0 else 0.0

    @property
    def exact(self) -> Measured:
        """The fastest exact strategy; plain where nothing pays, the adaptive one if times scatter.

        The adaptive one, too, where another is hardly faster: the others go on drafting on prompts
        unlike these, where it does not pay.
        """
        exact = [m for m in self.measured if m.exact and m is not self.plain]
        # a point that was given up early was slow on the prompts that it had
        longest = max((len(m.runs) for m in exact), default=0)
        others = [m for m in exact if len(m.runs) == longest]
        best = max(others, key=lambda m: m.tokens_per_second, default=self.plain)
        careful = next((m for m in others if m.point.strategy == ADAPTIVE), self.plain)
        if self.server is not None:
            # a plain answer is one request, and no other strategy is sure to ask for less
            careful = self.plain
        if faster(best, self.plain):
            near = ADAPTS * careful.tokens_per_second >= best.tokens_per_second
            return careful if near and faster(careful, self.plain) else best
        return careful if self.scattered and not faster(self.plain, careful) else self.plain

    @property
    def careful(self) -> str:
        """The exact strategy that loses nothing where drafting does not pay."""
        adapts = any(m.point.strategy == ADAPTIVE for m in self.measured)
        return ADAPTIVE if adapts else self.plain.point.strategy

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
        tested = [t for tests in self.tests.values() for t in tests if t.tested]
        return min(
            tested, key=lambda t: (t.more_prompts is None, t.more_prompts or 0), default=None
        )

    @property
    def within_budget(self) -> Measured | None:
        """The proved strategy where it is faster than the exact one, else None."""
        proved = self.proved
        if proved is None:
            return None
        return proved.point if self._is_worth_more(proved.point, self.exact) else None

    def _is_worth_more(self, first: Measured, second: Measured) -> bool:
        """Whether the first is to be preferred: by time, or by time and money alike where both are
        known. Half the price is worth as much as half the time."""
        costs = None if self.server is None else (self.server.cost(first), self.server.cost(second))
        if costs is None or costs[0] is None or costs[1] is None:
            return faster(first, second)
        before, after = (
            m.ms_per_token * cost for m, cost in ((second, costs[1]), (first, costs[0]))
        )
        return after * PAYS < before

    @property
    def recommended(self) -> Measured:
        return self.within_budget or self.exact


def faster(first: Measured, second: Measured) -> bool:
    """Whether the first is faster by more than a trifle and by more than one standard error."""
    ahead = first.tokens_per_second - second.tokens_per_second
    return ahead > (PAYS - 1) * second.tokens_per_second and ahead > math.hypot(
        first.spread, second.spread
    )
