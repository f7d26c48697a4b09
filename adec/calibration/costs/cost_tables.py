"""Milliseconds of a forward of n tokens, for each model and several context lengths: as data.

A cell is the median of its forwards. The spread is that of the median: 1.2533 sigma / sqrt(n), with
sigma from the median absolute deviation, which a few outliers do not move.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from adec.decoding.pair.clock.cost_curve import CostCurve
from adec.events.records import Role

OUTLIER = 14.8
"""Modified z-score from which a time is called an outlier (hyperfine's threshold)."""
WORTH = 0.05
"""A batch is useful while doubling it still saves this share of the time per token."""


@dataclass(frozen=True)
class Cell:
    """One size at one context length."""

    ms: float
    spread: float
    """Milliseconds: how far the median may be off, one standard error."""
    count: int
    outliers: int = 0


@dataclass
class CostTable:
    """Cells of one model: context length to size to cell."""

    cells: dict[int, dict[int, Cell]] = field(default_factory=dict)
    _curves: dict[int, CostCurve] = field(default_factory=dict, repr=False, compare=False)

    def curve(self, context: int) -> CostCurve:
        """The curve at the measured context length nearest to `context`.

        Raises ValueError when nothing was measured.
        """
        if not self.cells:
            raise ValueError("no costs were measured")
        nearest = min(self.cells, key=lambda known: abs(known - context))
        column = self.cells[nearest]
        return CostCurve({size: cell.ms for size, cell in column.items()})

    def ms(self, size: int, context: int) -> float:
        """Cost of a forward of `size` tokens after `context` tokens, linear between the columns."""
        if len(self._curves) != len(self.cells):
            self._curves = {known: self.curve(known) for known in sorted(self.cells)}
        known = list(self._curves)
        place = bisect_left(known, context)
        if place in (0, len(known)):
            return self._curves[known[min(place, len(known) - 1)]].ms(size)
        low, high = known[place - 1], known[place]
        share = (context - low) / (high - low)
        return (1 - share) * self._curves[low].ms(size) + share * self._curves[high].ms(size)

    @property
    def outliers(self) -> float:
        """Share of forwards that were far from their median."""
        cells = [cell for column in self.cells.values() for cell in column.values()]
        return sum(cell.outliers for cell in cells) / max(1, sum(cell.count for cell in cells))

    @property
    def spread(self) -> float:
        """Median over cells of the spread as a share of the cell's time."""
        cells = [cell for column in self.cells.values() for cell in column.values()]
        return median(cell.spread / cell.ms for cell in cells if cell.ms > 0) if cells else 0.0


def largest_useful(curve: CostCurve, most: int) -> int:
    """The size past which a larger batch no longer makes a token cheaper."""
    size = 1
    while (
        2 * size <= most and curve.ms(2 * size) / (2 * size) < (1 - WORTH) * curve.ms(size) / size
    ):
        size *= 2
    return size


def cell_of(values: Sequence[float]) -> Cell:
    """The cell that some times in milliseconds make."""
    middle = median(values)
    deviation = median(abs(value - middle) for value in values)
    sigma = 1.4826 * deviation
    spread = 1.2533 * sigma / math.sqrt(len(values))
    far = [value for value in values if deviation > 0 and abs(value - middle) > OUTLIER * sigma]
    return Cell(middle, spread, len(values), len(far))


TableData = dict[str, list[tuple[int, int, float, float, int, int]]]
"""For the journal: role to (context, size, ms, spread, count, outliers)."""


def data_of(tables: Mapping[Role, CostTable]) -> TableData:
    """The tables for the journal."""
    return {
        role: [
            (context, size, cell.ms, cell.spread, cell.count, cell.outliers)
            for context, column in table.cells.items()
            for size, cell in column.items()
        ]
        for role, table in tables.items()
    }


def tables_from(data: TableData) -> dict[Role, CostTable]:
    """The tables from the journal."""
    tables: dict[Role, CostTable] = {}
    for role, cells in data.items():
        for context, size, ms, spread, count, outliers in cells:
            column = tables.setdefault(role, CostTable()).cells.setdefault(context, {})
            column[size] = Cell(ms, spread, count, outliers)
    return tables
