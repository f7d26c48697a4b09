"""What a profile promises, on which evidence, and what speed to expect of it on this machine."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from adec.display.plot import Plot, PlotPoint, letters
from adec.display.wording import many, milliseconds, number, share
from adec.engines.base import ModelHeader
from adec.inspection.sheet import Block, Lines, Table
from adec.profiles.schema import Profile


def promise_data(profile: Profile) -> dict[str, Any] | None:
    """The budget as plain data; None where nothing is promised."""
    budget = profile.budget
    if budget is None:
        return None
    return msgspec.structs.asdict(budget)


def speed_data(
    profile: Profile, large: ModelHeader | None, small: ModelHeader | None
) -> dict[str, Any] | None:
    """Measured speeds, and whether they hold here; None where nothing was measured.

    `void` says why they do not hold, or why the proof does not; None where the large model is missing, since nobody can tell.
    """
    choice, costs = profile.choice, profile.costs
    if choice is None and costs is None:
        return None
    measured = msgspec.structs.asdict(profile.machine)
    machine = {name: value for name, value in measured.items() if value is not None}
    data: dict[str, Any] = {"machine": machine}
    data["other_machine"] = None if large is None else profile.other_machine(large)
    if choice is not None:
        data["plain_tokens_per_second"] = choice.plain_tokens_per_second or None
        data["exact"] = choice.exact
        data["exact_tokens_per_second"] = choice.exact_tokens_per_second or None
        data["within_budget"] = choice.within_budget
        data["within_budget_tokens_per_second"] = choice.within_budget_tokens_per_second or None
    curves = None if costs is None else costs.curves
    if costs is not None and curves is not None:
        data["context"] = costs.context
        data["large_ms"] = curves.large.ms(1)
        data["small_ms"] = None if curves.small is None else curves.small.ms(1)
    return data


def promise_lines(profile: Profile, void: list[str]) -> Iterator[str]:
    """The promise in words. `void`: where the model files are others than those that were calibrated."""
    budget = profile.budget
    if budget is None:
        yield "nothing is proved: it has no [budget]; its thresholds are somebody's choice"
    elif budget.proved:
        yield (
            f"{budget.strategy} keeps at least {_percent(budget.keep)} of the {budget.metric} of the large model alone, "
            f"with {_percent(budget.confidence)} confidence"
        )
        yield (
            f"the evidence: {many(budget.held_out)} held-out prompts, on which it kept {_percent(budget.kept)}; "
            f"they prove {_percent(budget.proved_keep)} at most. It holds for prompts like those"
        )
    else:
        yield (
            f"nothing is proved: that {budget.strategy} keeps {_percent(budget.keep)} of the {budget.metric} "
            f"was tried on {many(budget.held_out)} held-out prompts, which prove {_percent(budget.proved_keep)} at most"
        )
    if void:
        yield f"but the model files are not those that were calibrated, so the proof is void: {'; '.join(void)}"


def speed_lines(speed: dict[str, Any] | None) -> Iterator[str]:
    """The speed to expect in words."""
    if speed is None:
        yield "no speed is expected: it has no [cost] measured on a machine"
        return
    plain = speed.get("plain_tokens_per_second")
    for what, key in (
        ("plain", "plain"),
        ("exact", "exact"),
        ("within the budget", "within_budget"),
    ):
        rate = speed.get(f"{key}_tokens_per_second")
        if not rate or (key != "plain" and speed[key] == "plain"):
            continue
        name = "plain, the large model alone" if key == "plain" else f"{speed[key]}, {what}"
        times = (
            ""
            if key == "plain" or not plain
            else f", {number(rate / plain)} times as fast as plain"
        )
        yield f"{name}: {number(rate, 1)} tokens per second{times}"
    if speed.get("large_ms") is not None:
        line = f"a forward of one token after {many(speed['context'])} others: large {milliseconds(speed['large_ms'])}"
        if speed["small_ms"] is not None:
            line += f", small {milliseconds(speed['small_ms'])}"
            if speed["large_ms"] > 0:
                line += f" ({share(speed['small_ms'] / speed['large_ms'])} of it)"
        yield line
    others = speed["other_machine"]
    if others is None:
        yield "whether that holds here cannot be said: the large model is missing"
    elif others:
        yield f"not to be expected here, where nothing was measured: {'; '.join(others)}"
    elif not speed["machine"]:
        yield "it does not say on which machine that was measured"
    else:
        yield "measured on a machine like this one, with the same backend: expect it here"


def _percent(part: float) -> str:
    return f"{100 * part:.4g} %"


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


def front_points(profile: Profile) -> list[FrontPoint]:
    """The [[front]] of a profile. What is no point is left out: nothing but this view reads it."""
    points = (_point(row) for row in profile.front)
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
