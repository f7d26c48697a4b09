"""The stages of a calibration whose large model is behind a server.

They are those of `stages`, but for what a server cannot give or should not be asked for:

- No forward is timed there. The answers tell how long a server takes to begin and how long for each
  further token; that is the table on which settings are simulated, and no profile keeps it, since a
  run measures its own line.
- A row is its likeliest tokens, as the answers bring them: nothing is asked twice for a record.
- No exactness of forwards, and no thresholds of AdaDec, which would read solutions there.
- Stages end by their share of the requests and tokens, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, median
from typing import Any

from adec.calibration.costs.cost_measuring import measure_costs
from adec.calibration.costs.cost_tables import Cell, CostTable, data_of, tables_from
from adec.calibration.prompts import PromptSet
from adec.calibration.replay.pause_thresholds import Learned
from adec.calibration.replay.recording import Answer
from adec.calibration.result import Result, Server
from adec.calibration.served.allowance import (
    FIT_MOST,
    HELD_OUT_MOST,
    POINTS,
    Allowance,
    Stages,
    announcement,
    check_budget,
    wanted,
)
from adec.calibration.stages import COST_SECONDS, COSTS, COSTS_READER, Calibration
from adec.calibration.trials.held_out import TESTED
from adec.calibration.trials.measured import Measured
from adec.calibration.trials.trial import Point
from adec.decoding.pair.clock.cost_curve import Curves
from adec.decoding.registry import check_method, find_method
from adec.engines.pair import Engines
from adec.engines.remote.server_engine import ServerEngine
from adec.errors import PairError, UsageError
from adec.events.hostile_json import JsonReader
from adec.events.records import Role
from adec.profiles.schema import Prices

LENGTHS: Mapping[str, Sequence[int]] = {
    "speculate": (64, 8, 16, 32),
    "smartspec": (8, 4, 16, 32),
    "adaedl": (16, 4, 8, 32),
}
"""Draft lengths that are simulated, the default first: a round trip asks for longer ones."""
_STAGES: JsonReader[Stages] = JsonReader(Stages)
LONGEST = 64
"""Tokens of the largest forward in the table."""


class ServedCalibration(Calibration):
    """One calibration of a small model here and a server's."""

    most_points = POINTS

    def __init__(
        self,
        *given: Any,
        place: str,
        prices: Prices | None,
        budget: int | None,
        say: Callable[[str], None],
        **more: Any,
    ) -> None:
        """As `Calibration`, which see. `place`: the server as messages name it.

        Says what will be bought. Raises UsageError for a budget that is too small.
        """
        super().__init__(*given, **more)
        large = self._engines["large"]
        assert isinstance(large, ServerEngine)
        self._server, self._place, self._prices = large, place, prices
        asked = self._prompts
        self._prompts = PromptSet(
            asked.fit[:FIT_MOST], asked.held_out[:HELD_OUT_MOST], asked.source, asked.remarks
        )
        lengths = [len(self._runner.encode(prompt)) for prompt in self._prompts.all]
        check_budget(budget, lengths, self._wishes.max_tokens)
        plan = wanted(
            lengths,
            len(self._prompts.fit),
            len(self._prompts.held_out),
            self._wishes.max_tokens,
            self._wishes.keep,
        )
        for line in announcement(place, plan, prices, budget):
            say(line)
        before = self._journal.get("bought", _STAGES)
        self._allowance = Allowance(large.bill, plan.requests, budget, before)

    def run(self) -> Result:
        """As `Calibration.run`, with what was bought."""
        try:
            result = super().run()
        finally:
            self._server.settle()
            self._journal.put("bought", self._allowance.stages)
        bill = self._server.bill
        table = result.tables.pop("large").cells.popitem()[1]
        result.server = Server(self._place, table[LONGEST].ms, table[1].ms, bill, self._prices)
        result.remarks.append(
            f"of {self._place} it is not known, and left out: forward times and their exactness,"
            " whole rows (entropies are of the likeliest tokens), thresholds of adadec"
        )
        return result

    def _over(self, share: float) -> Callable[[], bool]:
        late, spent = self._late(share), self._allowance.over(share)
        return lambda: spent() or late()

    def _costs(self) -> dict[Role, CostTable]:
        """Those of the small model."""
        self._progress.stage("forward times")
        known = self._journal.get("costs", COSTS_READER)
        if known is not None and set(known) == {"small"}:
            return tables_from(known)
        here = Engines(small=self._engines["small"])
        seconds = min(COST_SECONDS, COSTS * self._wishes.seconds)
        tables = measure_costs(here, seconds=seconds, tick=self._progress.tick)
        self._journal.put("costs", data_of(tables))
        return tables

    def _costs_from(self, answers: Sequence[Answer]) -> dict[Role, CostTable]:
        """A request begins, then a token follows another."""
        token = median((a.ms - a.first_ms) / max(1, len(a.tokens) - 1) for a in answers)
        request = max(token, median(a.first_ms for a in answers))
        cells = {1: token, 2: request, LONGEST: request}
        context = round(median(len(a.tokens) for a in answers))
        table = CostTable({context: {n: Cell(ms, 0.0, len(answers)) for n, ms in cells.items()}})
        return {"large": table}

    def _take_curves(self, curves: Curves) -> None:
        """A run learns them anew, and so do the runs here."""

    def _measure_exactness(self, answer: Answer) -> None:
        pass

    def _pauses(self) -> dict[Role, Learned]:
        return {}

    def _exact_variants(self) -> Mapping[str, Sequence[Point]]:
        drafting = {
            name: tuple(Point(name, (("longest", n),) if n != lengths[0] else ()) for n in lengths)
            for name, lengths in LENGTHS.items()
        }
        return {**drafting, "lookup": (Point("lookup"),), "suffix": (Point("suffix"),)}

    def _serves(self, point: Point) -> bool:
        try:
            check_method(
                find_method(point.strategy), self._runner.plan.models, point.build_settings()
            )
        except (PairError, UsageError):
            return False
        return True

    def _most_held_out(self, measured: Sequence[Measured]) -> int:
        """As many as may be bought, if every prompt has as many points as a family may bring."""
        prompts = super()._most_held_out(measured)
        plain = next(m for m in measured if m.point.is_yardstick)
        others = [m.bought for m in measured if not m.exact and m.bought is not None]
        own = plain.bought
        if own is None or not others:
            return prompts
        requests, read, written = (
            own[i] + TESTED * fmean(bought[i] for bought in others) for i in range(3)
        )
        left_requests, left_tokens = self._allowance.left
        for spend, rest in ((requests, left_requests), (read + written, left_tokens)):
            if rest < prompts * spend:
                prompts = int(max(0.0, rest) / spend)
        return prompts
