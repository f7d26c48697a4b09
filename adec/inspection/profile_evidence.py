"""What a profile promises, the evidence for it, and the speed to expect on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import msgspec

from adec.display.plot import Plot, PlotPoint, letters
from adec.display.wording import many, milliseconds, number, share
from adec.engines.base import ModelHeader
from adec.inspection.sheet import Block, Lines, Table
from adec.profiles.schema import Profile, Share

COLUMNS = 80
"""Width of the chart where there is room for it."""
_LABEL = 80

_Rate = Annotated[float, msgspec.Meta(ge=0, le=1e9)]


class FrontPoint(msgspec.Struct, frozen=True, rename={"label": "point"}):
    """A strategy with its settings, as calibration ran it on its prompts. None: not recorded."""

    label: Annotated[str, msgspec.Meta(pattern=r"^\s*[a-z][a-z0-9_-]{0,39}(\s|$)")]
    kept: Share
    """Share of the metric that it kept."""
    tokens_per_second: _Rate | None = None
    forecast_tokens_per_second: _Rate | None = None
    large_share: Share | None = None
    """Share of the tokens that the large model wrote."""
    large_fed: _Rate | None = None
    """Tokens that the large model read for each one written."""
    prompts: Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)] | None = None
    on_front: bool = False
    """No other point is both faster and better."""

    @property
    def strategy(self) -> str:
        """The name at the start of the label."""
        return self.label.split()[0]


def front_points(profile: Profile) -> list[FrontPoint]:
    """The [[front]] of a profile. What is no point is left out: only this view reads it."""
    points = []
    for row in profile.front:
        try:
            # older profiles have another key
            forecast = row.get("predicted_tokens_per_second")
            point = msgspec.convert({"forecast_tokens_per_second": forecast, **row}, FrontPoint)
        except msgspec.ValidationError:
            continue
        label = " ".join(point.label[:_LABEL].split())
        points.append(msgspec.structs.replace(point, label=label))
    return points


CANVAS = 128
"""Positions of the canvas whose forward time is shown of a diffusion model."""


def promise_data(profile: Profile) -> dict[str, Any] | None:
    """The budget as plain data; None if nothing is promised."""
    return None if profile.budget is None else msgspec.structs.asdict(profile.budget)


def speed_data(profile: Profile, models: Mapping[str, ModelHeader]) -> dict[str, Any] | None:
    """Measured speeds, and whether they hold here; None if nothing was measured.

    `other_machine` lists what differs here from the machine that was measured; it is None without
    the large model, because the backend depends on it.
    """
    choice, costs = profile.choice, profile.costs
    if choice is None and costs is None:
        return None
    large = models.get("large")
    machine = msgspec.structs.asdict(profile.machine)
    data: dict[str, Any] = {
        "machine": {name: value for name, value in machine.items() if value is not None},
        "other_machine": None if large is None else profile.other_machine(large),
    }
    if choice is not None:
        data |= {
            "plain_tokens_per_second": choice.plain_tokens_per_second or None,
            "exact": choice.exact,
            "exact_tokens_per_second": choice.exact_tokens_per_second or None,
            "within_budget": choice.within_budget,
            "within_budget_tokens_per_second": choice.within_budget_tokens_per_second or None,
        }
    curve = None if costs is None else costs.curve("large")
    if costs is not None and curve is not None:
        small = costs.curve("small")
        # nothing precedes a canvas, which is computed whole
        size = 1 if costs.context else CANVAS
        data |= {
            "context": costs.context,
            "positions": size,
            "large_ms": curve.ms(size),
            "small_ms": None if small is None else small.ms(1),
        }
    return data


def promise_lines(profile: Profile, differences: Sequence[str]) -> Iterator[str]:
    """The promise in words. `differences`: how the model files differ from the calibrated ones."""
    budget = profile.budget
    if budget is None:
        yield "nothing is proved: it has no [budget], so its thresholds are somebody's choice"
    else:
        keep = f"{_percent(budget.keep)} of the {budget.metric}"
        proved = f"{_percent(budget.proved_keep)} at most"
        prompts = f"{many(budget.held_out)} held-out prompts"
        if budget.proved:
            yield (
                f"{budget.strategy} keeps at least {keep} of the large model alone, "
                f"with {_percent(budget.confidence)} confidence"
            )
            yield (
                f"the evidence: {prompts}, on which it kept {_percent(budget.kept)}; "
                f"they prove {proved}. It holds for prompts like those"
            )
        else:
            yield (
                f"nothing is proved: that {budget.strategy} keeps {keep} "
                f"was tried on {prompts}, which prove {proved}"
            )
    if differences:
        yield (
            "but the model files are not those that were calibrated, so the proof is void: "
            + "; ".join(differences)
        )


def speed_lines(speed: Mapping[str, Any] | None) -> Iterator[str]:
    """The speed to expect, in words."""
    if speed is None:
        yield "no speed is expected: it has no [cost] measured on a machine"
        return
    plain = speed.get("plain_tokens_per_second")
    if plain:
        yield f"plain, the large model alone: {number(plain, 1)} tokens per second"
    for key, what in (("exact", "exact"), ("within_budget", "within the budget")):
        rate = speed.get(f"{key}_tokens_per_second")
        if rate and speed[key] != "plain":
            times = f", {number(rate / plain)} times as fast as plain" if plain else ""
            yield f"{speed[key]}, {what}: {number(rate, 1)} tokens per second{times}"
    large_ms, small_ms = speed.get("large_ms"), speed.get("small_ms")
    if large_ms is not None:
        line = f"a forward of one token after {many(speed['context'])} others: "
        if not speed["context"]:
            line = f"a forward of a canvas of {many(speed['positions'])} positions: "
        line += f"large {milliseconds(large_ms)}"
        if small_ms is not None:
            line += f", small {milliseconds(small_ms)}"
            line += f" ({share(small_ms / large_ms)} of it)" if large_ms > 0 else ""
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


def front_blocks(points: Sequence[FrontPoint], profile: Profile, columns: int) -> list[Block]:
    """The chart that `adec calibrate` draws, and a table with a row for each point."""
    if not points:
        return []
    blocks: list[Block] = []
    timed = [point for point in points if point.tokens_per_second]
    if len(timed) > 1:
        budget = profile.budget
        keep = min(point.kept for point in timed) if budget is None else budget.keep
        plot = _plot(timed, "quality" if budget is None else budget.metric[:40], keep)
        what = "the least that was kept" if budget is None else "the budget"
        legend = f"{plot.legend()}  (capital: on the front; ···: {what})"
        title = "The front: what was kept, against speed"
        blocks.append(Lines(title, [*plot.text(min(columns, COLUMNS)), legend]))
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
    header = ("point", "tok/s", "forecast", "kept", "written", "read", "prompts", "")
    blocks.append(Table("Points that were run", header, rows, frozenset(range(1, 7))))
    return blocks


def _plot(points: Sequence[FrontPoint], metric: str, keep: float) -> Plot:
    marks = letters(point.strategy for point in points)
    return Plot(
        "tokens per second",
        f"{metric} kept",
        [
            PlotPoint(
                point.tokens_per_second or 0.0,
                point.kept,
                point.strategy,
                marks[point.strategy].upper() if point.on_front else marks[point.strategy],
                front=point.on_front,
            )
            for point in points
        ],
        line=keep,
    )


def _percent(part: float) -> str:
    return f"{100 * part:.4g} %"
