"""What calibration adds to a profile: forward times, the machine, the proved budget, the recommendation. Checked key by key."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from adec.decoding.pair.clock.cost_curve import CostCurve, Curves

MOST_COLUMNS = 32
MOST_SIZES = 256


class Wrong(Exception):
    """A key and what is wrong with it; the reader of profiles adds which file."""


@dataclass(frozen=True)
class Costs:
    """Milliseconds of forwards: role to context length to size."""

    context: int
    """Tokens before a typical forward of the prompts that were calibrated on."""
    columns: Mapping[str, Mapping[int, Mapping[int, float]]]

    def curve(self, role: str, context: int | None = None) -> CostCurve | None:
        """The curve at the context length nearest to `context`, or to the typical one."""
        columns = self.columns.get(role)
        if not columns:
            return None
        wanted = self.context if context is None else context
        return CostCurve(columns[min(columns, key=lambda known: abs(known - wanted))])

    @property
    def curves(self) -> Curves | None:
        """What a strategy is handed; None when nothing is known of the large model."""
        large = self.curve("large")
        return None if large is None else Curves(large, self.curve("small"))


@dataclass(frozen=True)
class Budget:
    """What was promised of an approximate strategy, and whether held-out prompts proved it."""

    metric: str
    keep: float
    confidence: float
    strategy: str
    proved: bool
    held_out: int = 0
    kept: float = 0.0
    """Mean of the metric on the held-out prompts."""
    proved_keep: float = 0.0
    """The most that those prompts prove with that confidence."""


@dataclass(frozen=True)
class Recommendation:
    """The fastest strategy that is exact, and the fastest within the proved budget."""

    exact: str
    exact_tokens_per_second: float = 0.0
    within_budget: str | None = None
    within_budget_tokens_per_second: float = 0.0
    plain_tokens_per_second: float = 0.0
    exact_settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the exact strategy; a method that is approximate with others, such as EAD, may be it."""


def thresholds_of(table: Mapping[str, Any]) -> tuple[dict[str, float], dict[str, Any]]:
    """(thresholds by role, settings) of [adadec]: what calibration learned is in [adadec.large] and [adadec.small]."""
    found: dict[str, float] = {}
    settings = dict(table)
    for role in ("large", "small"):
        learned = settings.pop(role, None)
        if learned is None:
            continue
        nats = learned.get("threshold") if isinstance(learned, Mapping) else None
        if isinstance(nats, bool) or not isinstance(nats, int | float) or not 0 <= nats < math.inf:
            raise Wrong(f"adadec.{role}.threshold is no number of nats")
        found[role] = float(nats)
    return found, settings


def costs_of(table: Mapping[str, Any]) -> Costs:
    """The [cost] table. Raises Wrong."""
    columns: dict[str, dict[int, dict[int, float]]] = {}
    for role in ("large", "small"):
        rows = table.get(role, [])
        if not isinstance(rows, list) or len(rows) > MOST_COLUMNS:
            raise Wrong(f"cost.{role} is not a list of at most {MOST_COLUMNS} tables")
        for row in rows:
            where = f"cost.{role}"
            if not isinstance(row, dict):
                raise Wrong(f"{where} is not a list of tables")
            context = _whole(row.get("context"), f"{where}.context", least=0)
            sizes, ms = row.get("sizes"), row.get("ms")
            if not isinstance(sizes, list) or not isinstance(ms, list) or len(sizes) != len(ms):
                raise Wrong(f"{where}: sizes and ms are not two lists of one length")
            if not 1 <= len(sizes) <= MOST_SIZES:
                raise Wrong(f"{where} has {len(sizes)} sizes, 1 to {MOST_SIZES} may be")
            columns.setdefault(role, {})[context] = {
                _whole(size, f"{where}.sizes", least=1): _number(value, f"{where}.ms", least=0)
                for size, value in zip(sizes, ms, strict=True)
            }
    return Costs(_whole(table.get("context", 0), "cost.context", least=0), columns)


def budget_of(table: Mapping[str, Any]) -> Budget:
    """The [budget] table. Raises Wrong."""
    proved = table.get("proved", False)
    if not isinstance(proved, bool):
        raise Wrong(f"budget.proved is {proved!r}, not true or false")
    return Budget(
        metric=_text(table.get("metric"), "budget.metric"),
        keep=_number(table.get("keep"), "budget.keep", least=0, most=1),
        confidence=_number(table.get("confidence"), "budget.confidence", least=0, most=1),
        strategy=_text(table.get("strategy"), "budget.strategy"),
        proved=proved,
        held_out=_whole(table.get("held_out", 0), "budget.held_out", least=0),
        kept=_number(table.get("kept", 0.0), "budget.kept", least=0, most=1),
        proved_keep=_number(table.get("proved_keep", 0.0), "budget.proved_keep", least=0, most=1),
    )


def recommendation_of(table: Mapping[str, Any]) -> Recommendation:
    """The [choice] table. Raises Wrong."""
    within = table.get("within_budget")
    speeds = {
        name: _number(table.get(name, 0.0), f"choice.{name}", least=0)
        for name in (
            "exact_tokens_per_second",
            "within_budget_tokens_per_second",
            "plain_tokens_per_second",
        )
    }
    settings = table.get("exact_settings", {})
    if not isinstance(settings, dict):
        raise Wrong("choice.exact_settings is not a table")
    return Recommendation(
        exact_settings=settings,
        exact=_text(table.get("exact"), "choice.exact"),
        within_budget=None if within is None else _text(within, "choice.within_budget"),
        **speeds,
    )


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise Wrong(f"{where} is {shown(value)}, not a text")
    return value


def _whole(value: Any, where: str, *, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise Wrong(f"{where} is {shown(value)}, not a whole number from {least}")
    return value


def shown(value: Any) -> str:
    """A wrong value as an error says it: never a line of thousands of digits."""
    if isinstance(value, int) and value.bit_length() > 128:
        return f"an integer of {value.bit_length():,} bits"
    return repr(value)[:80]


def _number(value: Any, where: str, *, least: float, most: float = math.inf) -> float:
    good = isinstance(value, (int, float)) and not isinstance(value, bool)
    # an integer beyond every float is told apart by comparison alone
    if not good or value != value or not least <= value <= min(most, sys.float_info.max):
        raise Wrong(
            f"{where} is {shown(value)}, not a number from {least:g}"
            + (f" to {most:g}" if most < math.inf else "")
        )
    return float(value)
