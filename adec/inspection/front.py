"""The points that a calibration ran, as its profile holds them: what each kept of the quality, and how fast it was."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adec.display.plot import Plot, PlotPoint, letters
from adec.inspection.figures import many, number, share
from adec.inspection.sheet import Block, Lines, Table
from adec.profiles.read import FRONT

COLUMNS = 80
"""Of the chart, where there is room."""
_LABEL = 80
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_FASTEST = 1e9


@dataclass(frozen=True)
class FrontPoint:
    """A point that was run on prompts to fit on. None is "not said": a profile may have been made without times, or by hand."""

    label: str
    kept: float
    """Share of the metric that it kept, 0 to 1."""
    tokens_per_second: float | None
    forecast_tokens_per_second: float | None
    large_share: float | None
    """Of the tokens, written by the large model."""
    large_fed: float | None
    """Tokens that the large model read for each one written."""
    prompts: int | None
    on_front: bool
    """No other point was both faster and better."""

    def data(self) -> dict[str, Any]:
        """As plain data."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def front_points(table: Mapping[str, Any]) -> list[FrontPoint]:
    """The [[front]] of a profile's table. What is no point is left out: nothing but this view reads it."""
    rows = table.get("front")
    if not isinstance(rows, list):
        return []
    points = (_point(row) for row in rows[:FRONT])
    return [point for point in points if point is not None]


def _point(row: Any) -> FrontPoint | None:
    if not isinstance(row, dict):
        return None
    label, kept = row.get("point"), _within(row.get("kept"), 1.0)
    if not isinstance(label, str) or kept is None:
        return None
    words = label[:_LABEL].split()
    if not words or not _NAME.fullmatch(words[0]):
        return None
    forecast = row.get("forecast_tokens_per_second", row.get("predicted_tokens_per_second"))
    prompts = row.get("prompts")
    return FrontPoint(
        label=" ".join(words),
        kept=kept,
        tokens_per_second=_within(row.get("tokens_per_second"), _FASTEST),
        forecast_tokens_per_second=_within(forecast, _FASTEST),
        large_share=_within(row.get("large_share"), 1.0),
        large_fed=_within(row.get("large_fed"), _FASTEST),
        prompts=prompts if type(prompts) is int and 0 <= prompts < 1 << 53 else None,
        on_front=row.get("on_front") is True,
    )


def _within(value: Any, most: float) -> float | None:
    """A number from 0 to `most`, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= most else None


def _plot(points: Sequence[FrontPoint], metric: str, keep: float | None) -> Plot:
    strategies = [point.label.split()[0] for point in points]
    marks = letters(strategies)
    return Plot(
        "tokens per second",
        f"{metric} kept",
        [
            PlotPoint(
                point.tokens_per_second or 0.0,
                point.kept,
                strategy,
                marks[strategy].upper() if point.on_front else marks[strategy],
                front=point.on_front,
            )
            for point, strategy in zip(points, strategies, strict=True)
        ],
        line=min(point.kept for point in points) if keep is None else keep,
    )


def front_blocks(
    points: Sequence[FrontPoint], metric: str, keep: float | None, columns: int = COLUMNS
) -> list[Block]:
    """The front for people: the chart that `adec calibrate` draws, and a row a point."""
    if not points:
        return []
    blocks: list[Block] = []
    timed = [point for point in points if point.tokens_per_second]
    if len(timed) > 1:
        plot = _plot(timed, metric, keep)
        what = "the least that was kept" if keep is None else "the budget"
        legend = f"{plot.legend()}  (capital: on the front; ···: {what})"
        lines = [*plot.text(columns), legend]
        blocks.append(Lines("The front: what was kept, against speed", lines))
    rows = [
        (
            point.label,
            number(point.tokens_per_second, 1),
            number(point.forecast_tokens_per_second, 1),
            share(point.kept),
            "-" if point.large_share is None else share(point.large_share),
            "-" if point.large_fed is None else share(point.large_fed),
            "-" if point.prompts is None else many(point.prompts),
            "on the front" if point.on_front else "",
        )
        for point in sorted(points, key=lambda point: -(point.tokens_per_second or 0))
    ]
    header = (
        "point",
        "tok/s",
        "forecast",
        "kept",
        "written",
        "read",
        "prompts",
        "",
    )
    blocks.append(Table("Points that were run", header, rows, frozenset({1, 2, 3, 4, 5, 6})))
    return blocks
