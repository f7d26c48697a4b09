"""Two models side by side: do they share token ids, what do they cost, what can drafting gain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from adec.decoding.method import Method
from adec.decoding.registry import METHODS, check_method
from adec.display.wording import many, number, share, short, size
from adec.engines.base import ModelHeader
from adec.engines.pair import check_pair, differences
from adec.errors import PairError, ProfileError
from adec.inspection.anatomy import Anatomy, dissect
from adec.inspection.model_report import describe, memory, strategies_table
from adec.inspection.profile_evidence import speed_data, speed_lines
from adec.inspection.sheet import Block, Lines, Report, Table
from adec.models.couples import expected_speed, small_for
from adec.models.names import locate
from adec.profiles.find import fitting_profile
from adec.profiles.schema import Profile

ACCEPTANCE = (0.5, 0.7, 0.8, 0.9, 0.95)
"""Acceptance rates for which the expected speed is shown."""
_LONGEST = 16
_REASON = 300


def inspect_pair(
    small: str, large: str, profile: Profile | None = None, context: int | None = None
) -> Report:
    """Look at two models without loading them. Raises ModelFileError for one broken or missing.

    Costs come from `profile`, or else from one of the user's own, if it measured these files on
    this machine. Without such a profile they are estimated from sizes.
    """
    large_path = locate(large)
    small_path, taken = small_for(small, large_path)
    anatomies = {"small": dissect(small_path), "large": dissect(large_path)}
    models = {role: anatomy.header for role, anatomy in anatomies.items()}
    found = differences(models["small"].vocabulary, models["large"].vocabulary)
    if profile is None and not found:
        profile = fitting_profile(models)
    fit = None if profile is None else _fit(profile, models)
    ratio = _ratio(anatomies["small"], anatomies["large"])
    costs = None
    if profile is not None and fit is not None and fit["void"] is None:
        costs = _measured_costs(profile)
    agreement = None
    if profile is not None and costs is not None:
        ratio["measured"] = costs.draft
        agreement = _agreement(profile)
    by_size = DraftCosts(ratio["bytes"], lambda tokens: 1.0)
    chances = sorted({*ACCEPTANCE, *([] if agreement is None else [agreement])})
    data: dict[str, Any] = {
        "type": "pair",
        "schema": 1,
        **{
            role: {**describe(anatomy.header), "memory": memory(anatomy, context)}
            for role, anatomy in anatomies.items()
        },
        "compatible": not found,
        "differences": found,
        "remarks": taken if found else taken + check_pair(models["small"], models["large"]),
        "profile": fit,
        "cost_ratio": ratio,
        "speed": speed_data(profile, models) if profile is not None and costs else None,
        "agreement": agreement,
        "pays_from": _pays_from(costs) if costs else min(1.0, ratio["bytes"]),
        "expected": [_best_length(chance, costs or by_size) for chance in chances],
        "strategies": [_strategy(method, models, not found) for method in METHODS.values()],
    }
    return Report(data, _blocks(data))


@dataclass(frozen=True)
class DraftCosts:
    """Forward times in units of the large model's for one token."""

    draft: float
    """The small model's, for one token."""
    verify: Callable[[int], float]
    """The large model's, by the tokens that it reads at once."""


def _measured_costs(profile: Profile) -> DraftCosts | None:
    if profile.costs is None:
        return None
    large, small = profile.costs.curve("large"), profile.costs.curve("small")
    if large is None or small is None or large.ms(1) <= 0:
        return None
    return DraftCosts(small.ms(1) / large.ms(1), lambda tokens: large.ms(tokens) / large.ms(1))


def _ratio(small: Anatomy, large: Anatomy) -> dict[str, float]:
    """Cost of a small forward as a share of a large one's. A forward reads every weight once, so
    bytes are the better guess."""
    return {
        "parameters": small.header.info.parameters / max(1, large.header.info.parameters),
        "bytes": small.weight_bytes / max(1, large.weight_bytes),
    }


def _best_length(chance: float, costs: DraftCosts) -> dict[str, Any]:
    def speed(drafts: int) -> float:
        return expected_speed(chance, drafts, costs.draft, costs.verify)

    best = max(range(_LONGEST + 1), key=speed)
    return {"acceptance": chance, "drafts": best, "speed_up": speed(best)}


def _pays_from(costs: DraftCosts) -> float:
    """The lowest acceptance rate, in steps of a percent, at which drafting pays; 1 if none does."""
    rates = (percent / 100 for percent in range(1, 100))
    return next((rate for rate in rates if _best_length(rate, costs)["drafts"]), 1.0)


def _fit(profile: Profile, models: dict[str, ModelHeader]) -> dict[str, Any]:
    """Whether a profile fits. `void` says why its times do not hold for these files, here."""
    try:
        profile.check(models["large"])
    except ProfileError as error:
        return {"name": profile.name, "fits": False, "why": error.message, "void": error.message}
    void = "; ".join([*profile.other_models(models), *profile.other_machine(models["large"])])
    if profile.costs is None or profile.costs.curve("large") is None:
        void = "it has no forward times"
    return {"name": profile.name, "fits": True, "why": None, "void": void[:_REASON] or None}


def _agreement(profile: Profile) -> float | None:
    """Share of positions at which calibration saw the two models agree on the next token."""
    value = profile.signals.get("agreement")
    return value if isinstance(value, float) and 0 < value < 1 else None


def _strategy(method: Method, models: dict[str, ModelHeader], compatible: bool) -> dict[str, Any]:
    try:
        check_method(method, models)
        serves, why = "large alone", method.about
        if method.by_text and not compatible:
            serves, why = "yes", "by text: what one writes is tokenised anew for the other"
        elif method.pair and not compatible:
            serves, why = "no", "the two do not share a vocabulary"
        elif hasattr(method.settings(), "model"):
            serves = "either alone"
        elif compatible and "small" in method.roles:
            serves = "yes"
    except PairError as error:
        serves, why = "no", error.message
    return {"name": method.name, "serves": serves, "why": why}


def _blocks(data: dict[str, Any]) -> list[Block]:
    facts: dict[str, Callable[[dict[str, Any]], str]] = {
        "name": lambda side: side["name"],
        "file": lambda side: side["path"],
        "format": lambda side: side["format"],
        "architecture": lambda side: side["architecture"],
        "layers": lambda side: many(side["layers"]),
        "parameters": lambda side: short(side["parameters"]),
        "quantisation": lambda side: side["quantisation"],
        "size": lambda side: size(side["bytes"]),
        "context": lambda side: many(side["context_limit"]),
        "vocabulary": lambda side: many(side["vocabulary"]),
        "fingerprint": lambda side: side["vocabulary_fingerprint"],
        "memory": lambda side: _total(side["memory"]),
    }
    rows = [(name, tell(data["small"]), tell(data["large"])) for name, tell in facts.items()]
    blocks: list[Block] = [
        Table("The pair", ("", "small", "large"), rows),
        Lines("Compatible", _verdict(data)),
        Lines("Cost", _cost(data)),
    ]
    if data["compatible"]:
        blocks.append(_expected_block(data))
    return [*blocks, strategies_table(data["strategies"])]


def _total(figures: dict[str, Any]) -> str:
    total = figures["total_bytes"] or figures["weight_bytes"]
    return f"{size(total)} at {many(figures['context'])} tokens"


def _verdict(data: dict[str, Any]) -> list[str]:
    if data["compatible"]:
        lines = ["yes: both mean the same by every token id", *data["remarks"]]
    else:
        by_text = [one["name"] for one in data["strategies"] if one["serves"] == "yes"]
        verdict = f"by text only, with {' or '.join(by_text)}" if by_text else "no"
        lines = [f"{verdict}: {data['differences'][0]}", *data["differences"][1:]]
    fit = data["profile"]
    if fit is not None:
        verdict = "fits" if fit["fits"] else f"does not fit: {fit['why']}"
        lines.append(f"profile {fit['name']} {verdict}")
    return lines


def _cost(data: dict[str, Any]) -> list[str]:
    ratio, fit, least = data["cost_ratio"], data["profile"], data["pays_from"]
    lines = [
        f"a small forward reads {share(ratio['bytes'])} of the bytes of a large one, "
        f"with {share(ratio['parameters'])} of its parameters"
    ]
    if "measured" in ratio:
        lines += [f"profile {fit['name']} measured on this machine:", *speed_lines(data["speed"])]
    else:
        if fit is not None and fit["fits"]:
            lines.append(f"times of profile {fit['name']} do not hold here: {fit['void']}")
        lines.append(
            "nothing was measured of these two here, so costs are taken from sizes and may be far "
            "off: adec calibrate measures them"
        )
    lines.append(
        f"drafting pays only where more than {share(least)} of the drafts stand"
        if least < 1
        else "drafts of the small model cost too much: nothing can be gained with these two"
    )
    return lines


def _expected_block(data: dict[str, Any]) -> Block:
    rows = [
        (
            share(row["acceptance"]),
            many(row["drafts"]),
            f"{number(row['speed_up'])} x" if row["drafts"] else "none: plain is best",
            "as calibration saw" if row["acceptance"] == data["agreement"] else "",
        )
        for row in data["expected"]
    ]
    measured = "measured" in data["cost_ratio"]
    source = (
        "forwards as measured here" if measured else "arXiv 2211.17192, theorem 3.8, cost by bytes"
    )
    return Table(
        f"What exact speculation could gain at most ({source})",
        ("drafts that stand", "best length", "speed against the large model alone", ""),
        rows,
        frozenset({0, 1}),
    )
