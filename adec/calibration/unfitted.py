"""What a model could learn that it has not: which drafters would pay here, before anyone fits them.

The forecast is the plan by which `speculate` would draft (`decoding/heads/prompt_trees.py`), from
this machine's forward times and hit rates. A hit rate says how often the likeliest token of a draft
is the right one, by how many tokens it looks ahead. They are those of parts that were fitted here
for other models, else the published ones, and the line says which. Chains of the likeliest tokens
are forecast; trees do better where batches are cheap.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import count, takewhile

import numpy as np

from adec.calibration.fit.fit_part import NEEDS
from adec.decoding.heads.planned_foresight import BUDGET
from adec.decoding.heads.prompt_trees import EACH, RowPrice, plan_trees
from adec.decoding.pair.clock.cost_curve import CostCurve
from adec.decoding.registry import shortcoming
from adec.display.wording import count as numbered
from adec.engines.base import ModelHeader
from adec.errors import AdecError
from adec.parts.kept_parts import parts_of
from adec.parts.part import Part
from adec.parts.part_file import read_part
from adec.places import user_parts

PAYS = 1.05
"""Speed, as a multiple of plain decoding, from which half an hour of fitting is worth it."""
LATER = 0.8
"""Hit rate of a token further ahead, as a share of the one before it, where only the first was
published: a guess."""
AHEAD = 3
"""Tokens ahead that are forecast, as many as the papers look."""
MOST_READ = 32
"""Parts of other models that are read for their hit rates."""
_RATE = re.compile(r"right_([1-9])_(?:further|ahead)")


@dataclass(frozen=True)
class Learnable:
    """A drafter that has to be fitted."""

    kind: str
    """As in `--fit KIND`."""
    hits: tuple[float, ...]
    """Published hit rates, from one token ahead on."""
    source: str
    rows: RowPrice
    """What looking ahead behind a node takes."""


_VICUNA = (0.48, 0.48 * LATER, 0.48 * LATER**2)
LEARNABLE = (
    Learnable(
        "ppd", _VICUNA, "0.48 at one ahead on Vicuna-7B (arXiv 2405.18628), the rest guessed",
        EACH,
    ),
    Learnable(
        "hidden-transfer", _VICUNA,
        "taken to be those of ppd; its paper, arXiv 2404.12022, has other models",
        RowPrice(0.67, whole=True),
    ),
    Learnable(
        "lexical", (0.25, 0.25, 0.25),
        "a quarter each, which gives the 1.33 times of arXiv 2405.15208 (LLaMA-13B)",
        RowPrice(whole=True),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class FitForecast:
    """What fitting a kind promises."""

    kind: str
    speed: float
    """As a multiple of plain decoding, with the draft length that is best; 1 where none is."""
    drafts: int
    """Tokens of a draft; 0 where none pays."""
    source: str
    """Where the hit rates are from."""

    @property
    def pays(self) -> bool:
        """Whether it is worth fitting."""
        return self.speed >= PAYS


def forecast_fits(
    curve: CostCurve, able: Collection[str], fitted: Collection[str]
) -> list[FitForecast]:
    """A forecast for each kind that this model is `able` to learn and has not, the best first.

    `curve`: the large model's forward times. `fitted`: kinds of the parts that it has.
    """
    found = []
    for learnable in LEARNABLE:
        if learnable.kind in able and learnable.kind not in fitted:
            measured = measured_hits(learnable.kind)
            hits, source = measured or (learnable.hits, f"published: {learnable.source}")
            speed, drafts = _planned(curve, hits, learnable.rows)
            found.append(FitForecast(learnable.kind, speed, drafts, source))
    return sorted(found, key=lambda forecast: -forecast.speed)


def unfitted_of(header: ModelHeader, curve: CostCurve) -> list[FitForecast]:
    """The forecasts for a model, by what its header says that it is capable of and has."""
    able = [kind for kind, (needed, _, _) in NEEDS.items() if shortcoming(header, needed) is None]
    has = [part.kind for _, part in parts_of(header.info) if isinstance(part, Part)]
    return forecast_fits(curve, able, has)


def _planned(curve: CostCurve, hits: Sequence[float], rows: RowPrice) -> tuple[float, int]:
    """Speed as a multiple of plain decoding, and tokens of a draft."""
    accuracy = np.array(hits, dtype=np.float64)[:, None]
    plan = plan_trees(accuracy, curve.ms, most=BUDGET, nodes=len(hits) + 1, rows=rows)
    if not plan.drafts:
        return 1.0, 0
    return plan.rate * curve.ms(1), len(plan.trees[-1].parents)


def measured_hits(kind: str) -> tuple[tuple[float, ...], str] | None:
    """Hit rates of the newest part of a kind that was fitted here, for whatever model."""
    try:
        paths = sorted(user_parts().glob(f"{kind}-*.safetensors"))[:MOST_READ]
    except OSError:
        return None
    parts = []
    for path in paths:
        try:
            parts.append(read_part(path))
        except AdecError:
            continue  # what is wrong with it is told where it is used
    for part in sorted(parts, key=lambda part: part.made, reverse=True):
        hits = _hits_of(part)
        if part.kind == kind and hits:
            return hits, f"measured on another model here, {part.made or 'of no date'}"
    return None


def _hits_of(part: Part) -> tuple[float, ...]:
    rates: dict[int, float] = {}
    for name, value in part.facts.items():
        found = _RATE.fullmatch(name)
        if not found or isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if 0 <= value <= 1:
            rates[int(found[1])] = float(value)
    steps = takewhile(rates.__contains__, count(1))
    return tuple(rates[step] for step in steps)[:AHEAD]


def forecast_lines(forecasts: Sequence[FitForecast], model: str) -> list[str]:
    """For people: what would pay if it were fitted, with the command, and what would not."""
    if not forecasts:
        return []
    out = ["Not fitted yet; forecast from the forward times measured here and hit rates:"]
    for forecast in forecasts:
        verdict = (
            f"{forecast.speed:.2f} times plain with {numbered(forecast.drafts, 'draft')}"
            if forecast.pays
            else "does not pay"
        )
        out.append(f"  {forecast.kind}: {verdict} (hit rates {forecast.source})")
    if forecasts[0].pays:
        out.append(f"  to fit it: adec calibrate {model} --fit {forecasts[0].kind}")
    return out
