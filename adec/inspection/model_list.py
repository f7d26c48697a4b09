"""The models on this machine, which of them go together as pairs, and which cannot be used."""

from __future__ import annotations

from collections import Counter
from typing import Any

from adec.display.wording import number, short, size
from adec.inspection.sheet import Block, Lines, Report, Table
from adec.models.couples import (
    BY_TEXT,
    LONGEST,
    MOST_COUPLES,
    Couple,
    Misfit,
    couples,
    couples_by_text,
    misfits,
)
from adec.models.listing import ListedModel, Listing
from adec.models.stores import MOST

SHOWN_PAIRS = 20
SHOWN_MISFITS = 10
PARTNERS = 3
"""Small models that are shown for one large one."""


def inspect_models() -> Report:
    """List every model that is found, by its header. Broken ones are lines with a reason."""
    listing = Listing()
    pairs, wrong = couples(listing), misfits(listing)
    unlike = couples_by_text(listing)
    data: dict[str, Any] = {
        "type": "models",
        "schema": 1,
        "complete": listing.complete,
        "models": [_model_data(model) for model in listing.models],
        "pairs": [_pair_data(pair) for pair in pairs],
        "pairs_by_text": [_pair_data(pair) | _forecast_data(pair) for pair in unlike],
        "misfits": [
            {"small": misfit.small.name, "large": misfit.large.name, "why": misfit.why}
            for misfit in wrong
        ],
    }
    return Report(data, _blocks(listing, pairs, unlike, wrong))


def _model_data(model: ListedModel) -> dict[str, Any]:
    card = model.card
    known: dict[str, Any] = {}
    if model.problem is None:
        known = {
            "title": card.title,
            "format": card.format,
            "architecture": card.architecture,
            "quantisation": card.quantisation,
            "parameters": card.parameters,
            "context_limit": card.context,
            "bytes": card.file_bytes,
            "read_bytes_per_token": card.read_bytes,
            "vocabulary": None if card.tokens is None else card.tokens.key,
        }
    return {
        "name": model.name,
        "aliases": list(model.found.aliases),
        "path": str(model.found.path),
        "store": model.found.store,
        "problem": model.problem,
        **known,
    }


def _pair_data(pair: Couple) -> dict[str, Any]:
    return {
        "small": pair.small.name,
        "large": pair.large.name,
        "cost_ratio": pair.cost_ratio,
        "greatest_gain": pair.greatest_gain,
    }


def _forecast_data(pair: Couple) -> dict[str, Any]:
    forecast = pair.forecast()
    return {
        "forecast": forecast.speed,
        "forecast_measured": forecast.measured,
        "pays": forecast.pays,
    }


def _blocks(
    listing: Listing, pairs: list[Couple], unlike: list[Couple], wrong: list[Misfit]
) -> list[Block]:
    usable = [model for model in listing.models if model.problem is None]
    rows = [
        (
            model.name,
            short(model.card.parameters),
            model.card.quantisation,
            size(model.card.file_bytes),
            model.found.store,
        )
        for model in usable
    ]
    blocks: list[Block] = [
        Table(
            "Models on this machine",
            ("name", "parameters", "types", "size", "where"),
            rows,
            frozenset({1, 3}),
        )
    ]
    if not listing.complete:
        blocks.append(Lines("", [f"there are more: only {MOST:,} are listed"]))
    shown = _few_for_each(pairs)[:SHOWN_PAIRS]
    if shown:
        blocks.append(_pairs_block(shown))
        rest = len(pairs) - len(shown)
        most = " or more" if len(pairs) == MOST_COUPLES else ""
        more = [f"and {rest}{most} other pairs: --json has {len(pairs)}"] if rest else []
        blocks.append(
            Lines(
                "",
                [
                    *more,
                    "at most: every draft stands, "
                    f"{LONGEST} a round, and the large model reads them at the price of one token; "
                    "adec calibrate measures what a pair gains",
                ],
            )
        )
    blocks += _by_text_blocks(unlike)
    if wrong:
        lines = [f"{m.small.name} and {m.large.name}: {m.why}" for m in wrong[:SHOWN_MISFITS]]
        if len(wrong) > SHOWN_MISFITS:
            lines.append(f"and {len(wrong) - SHOWN_MISFITS} more: --json has them")
        blocks.append(Lines("No pairs, although they look like some", lines))
    broken = [(m.name, m.found.store, m.problem or "") for m in listing.models if m.problem]
    if broken:
        blocks.append(Table("Found, but of no use here", ("name", "where", "why"), broken))
    example = pairs[0].large.name if pairs else usable[0].name
    tail = " --small auto" if pairs else ""
    flag = "--large" if pairs else "-m"
    blocks.append(Lines("", [f"a name, or a part of it, will do: adec run {flag} {example}{tail}"]))
    return blocks


def _by_text_blocks(unlike: list[Couple]) -> list[Block]:
    """Couples of unlike vocabularies, after the pairs: a forecast instead of a bound."""
    shown = _few_for_each(unlike)[:SHOWN_PAIRS]
    if not shown:
        return []
    rows = []
    for pair in shown:
        forecast = pair.forecast()
        rows.append(
            (
                pair.small.name,
                pair.large.name,
                f"{100 * pair.cost_ratio:.0f} %",
                f"{number(forecast.speed)} x" if forecast.pays else "does not pay",
                "forward times kept here" if forecast.measured else "bytes",
            )
        )
    header = ("small", "large", "bytes read for a token", "forecast", "by")
    told = [
        f"the forecast takes {100 * BY_TEXT:.0f} % of the drafts to stand; by bytes it flatters: "
        "a run or adec calibrate keeps forward times"
    ]
    if len(unlike) > len(shown):
        told.insert(0, f"and {len(unlike) - len(shown)} more: --json has {len(unlike)}")
    return [
        Table("By text: unlike vocabularies", header, rows, frozenset({2, 3})),
        Lines("", told),
    ]


def _few_for_each(pairs: list[Couple]) -> list[Couple]:
    """The best few partners of every large model, in the order of `pairs`."""
    seen: Counter[str] = Counter()
    kept = []
    for pair in pairs:
        seen[pair.large.name] += 1
        if seen[pair.large.name] <= PARTNERS:
            kept.append(pair)
    return kept


def _pairs_block(pairs: list[Couple]) -> Block:
    rows = [
        (
            pair.small.name,
            pair.large.name,
            f"{100 * pair.cost_ratio:.0f} %",
            f"{number(pair.greatest_gain)} x",
        )
        for pair in pairs
    ]
    header = ("small", "large", "bytes read for a token", "at most")
    return Table("Pairs, best first", header, rows, frozenset({2, 3}))
