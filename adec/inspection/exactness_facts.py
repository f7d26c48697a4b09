"""How exact a model's drafts are on this machine, as far as it was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adec.display.wording import count, many
from adec.engines.base import ModelHeader
from adec.engines.exactness.invariance import QUANTILES, Reach
from adec.engines.exactness.kept_invariance import KeptInvariance, kept_entries

_NAMES = ("median", "9 of 10", "99 of 100", "most")


def exactness_data(header: ModelHeader) -> list[dict[str, Any]]:
    """What is kept of a model, an entry for each number of threads and each number format."""
    return [_data(entry) for entry in kept_entries(header)]


def exactness_facts(entries: Sequence[dict[str, Any]], name: str) -> list[tuple[str, str]]:
    """The same in words, a line each; where nothing was measured, what measures it."""
    if not entries:
        return [("not measured", f"adec calibrate {name}")]
    facts = []
    for entry in entries:
        label = "threads unknown" if not entry["threads"] else count(entry["threads"], "thread")
        label += f", {entry['dtype']}" if entry["dtype"] else ""
        start = 0
        for reach in entry["reaches"]:
            place = f"up to {many(reach['length'])} tokens"
            if start:
                place = f"{many(start + 1)} to {many(reach['length'])} tokens"
            facts.append((label, f"{place}: {_sizes(reach)}"))
            label, start = "", reach["length"]
        noise = ", ".join(
            f"{entry['noise'][str(share)]:.2g} ({word})"
            for share, word in zip(QUANTILES, _NAMES, strict=True)
        )
        facts.append(("", f"beyond that rounding moves the gap of the two best logits by {noise}"))
    return facts


def _data(entry: KeptInvariance) -> dict[str, Any]:
    found = entry.found
    return {
        "threads": entry.threads,
        "dtype": entry.dtype,
        "reaches": [_reach_data(reach) for reach in found.reaches],
        "noise": {str(share): value for share, value in zip(QUANTILES, found.noise, strict=True)},
    }


def _reach_data(reach: Reach) -> dict[str, Any]:
    return {
        "length": reach.length,
        "chains": list(reach.chains),
        "trees": list(reach.trees),
        "tried": list(reach.tried),
        "chains_up_to": reach.longest(reach.chains),
        "trees_up_to": reach.longest(reach.trees),
    }


def _sizes(reach: dict[str, Any]) -> str:
    """In words, which forwards are bit for bit those of single tokens."""
    chains, trees = reach["chains_up_to"], reach["trees_up_to"]
    if chains == trees == 1:
        return "no forward of several tokens is bit for bit"
    parts = [f"chains of {chains} tokens"] if chains > 1 else []
    parts += [f"trees of {trees} nodes"] if trees > 1 else []
    rest = "" if len(parts) == 2 else ", no trees" if chains > 1 else ", no chains"
    return f"bit for bit up to {' and '.join(parts)}{rest}"
