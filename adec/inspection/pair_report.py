"""Two models side by side: may they share token ids, what do they cost against each other, what to expect."""

from __future__ import annotations

from typing import Any

from adec.answering.models import locate
from adec.decoding.pair.clock.cost_curve import Curves
from adec.decoding.registry import METHODS, check_method
from adec.display.wording import many, number, share, short, size
from adec.engines.base import ModelHeader
from adec.engines.pair import check_pair, differences
from adec.errors import PairError, ProfileError
from adec.inspection.anatomy import Anatomy, dissect
from adec.inspection.model_report import describe, memory
from adec.inspection.profile_evidence import speed_data, speed_lines
from adec.inspection.sheet import Block, Lines, Report, Table
from adec.profiles.find import fitting_profile
from adec.profiles.schema import Profile

ACCEPTANCE = (0.5, 0.7, 0.8, 0.9, 0.95)
"""Chances that a draft stands, for which the expectation is shown."""
_LONGEST = 16
_SAID = 300


def inspect_pair(
    small: str, large: str, profile: Profile | None = None, context: int | None = None
) -> Report:
    """Look at two models without loading them. Raises ModelFileError when one is broken or missing.

    Costs are those that a profile measured for these files on this machine: `profile`, else one of the user's own that
    fits. Without one they are estimated from sizes.
    """
    ours, theirs = dissect(locate(small)), dissect(locate(large))
    small_header, large_header = ours.header, theirs.header
    found = differences(small_header.vocabulary, large_header.vocabulary)
    ratio = _ratio(ours, theirs)
    if profile is None and not found:
        profile = fitting_profile({"large": large_header, "small": small_header})
    fit = None if profile is None else _fit(profile, small_header, large_header)
    curves = _curves(profile) if fit is not None and fit["void"] is None else None
    if curves is not None and curves.small is not None and curves.large.ms(1) > 0:
        ratio["measured"] = curves.small.ms(1) / curves.large.ms(1)
    agreement = _agreement(profile) if "measured" in ratio else None
    chances = sorted({*ACCEPTANCE, *([] if agreement is None else [agreement])})
    data: dict[str, Any] = {
        "type": "pair",
        "schema": 1,
        "small": {**describe(small_header), "memory": memory(ours, context)},
        "large": {**describe(large_header), "memory": memory(theirs, context)},
        "compatible": not found,
        "differences": found,
        "remarks": [] if found else check_pair(small_header, large_header),
        "profile": fit,
        "cost_ratio": ratio,
        "speed": None
        if profile is None or "measured" not in ratio
        else speed_data(profile, large_header, small_header),
        "agreement": agreement,
        "pays_from": _pays_from(curves)
        if curves is not None and "measured" in ratio
        else min(1.0, ratio["bytes"]),
        "expected": [
            _measured(chance, curves)
            if curves is not None and "measured" in ratio
            else _expectation(chance, ratio["bytes"])
            for chance in chances
        ],
        "strategies": [
            _strategy(name, small_header, large_header, compatible=not found) for name in METHODS
        ],
    }
    return Report(data, _blocks(data))


def _ratio(small: Anatomy, large: Anatomy) -> dict[str, float]:
    """Cost of a small forward as a share of a large one. Bytes are the better guess: one token reads all weights."""
    return {
        "parameters": small.header.info.parameters / max(1, large.header.info.parameters),
        "bytes": small.weight_bytes / max(1, large.weight_bytes),
    }


def speed_up(chance: float, ratio: float, drafts: int) -> float:
    """Expected speed of a chain of `drafts` against the large model alone.

    Leviathan et al. 2023, "Fast Inference from Transformers via Speculative Decoding", arXiv 2211.17192, theorem 3.8:
    (1 - a^(k+1)) / ((1 - a) (k c + 1)), a the chance that a draft stands, c the cost of a small forward as a share of a
    large one, k the drafts. It takes a forward of k + 1 tokens to cost as much as one of a single token: true where
    memory binds, too kind on most CPUs.
    """
    tokens = drafts + 1 if chance >= 1 else (1 - chance ** (drafts + 1)) / (1 - chance)
    return tokens / (drafts * ratio + 1)


def _expectation(chance: float, ratio: float) -> dict[str, Any]:
    best = max(range(_LONGEST + 1), key=lambda drafts: speed_up(chance, ratio, drafts))
    return {"acceptance": chance, "drafts": best, "speed_up": speed_up(chance, ratio, best)}


def _measured(chance: float, curves: Curves) -> dict[str, Any]:
    """The same from measured forwards: (1 - a^(k+1)) / (1 - a) tokens in k small forwards and one large one of k + 1 tokens."""
    assert curves.small is not None
    large, small = curves.large, curves.small

    def gain(drafts: int) -> float:
        tokens = drafts + 1 if chance >= 1 else (1 - chance ** (drafts + 1)) / (1 - chance)
        return tokens * large.ms(1) / (drafts * small.ms(1) + large.ms(drafts + 1))

    best = max(range(_LONGEST + 1), key=gain)
    return {"acceptance": chance, "drafts": best, "speed_up": gain(best)}


def _pays_from(curves: Curves) -> float:
    """The least chance, in percent, from which some chain of drafts pays; 1 where none does below it."""
    return next((p / 100 for p in range(1, 100) if _measured(p / 100, curves)["drafts"]), 1.0)


def _fit(profile: Profile, small: ModelHeader, large: ModelHeader) -> dict[str, Any]:
    """Whether a profile fits; `void`: why its times do not hold for these files on this machine."""
    try:
        profile.check(large)
    except ProfileError as error:
        return {"name": profile.name, "fits": False, "why": error.message, "void": error.message}
    others = [
        *profile.other_models({"large": large, "small": small}),
        *profile.other_machine(large),
    ]
    if profile.costs is None or profile.costs.curves is None:
        others = ["it has no forward times"]
    return {
        "name": profile.name,
        "fits": True,
        "why": None,
        "void": "; ".join(others)[:_SAID] or None,
    }


def _curves(profile: Profile | None) -> Curves | None:
    return None if profile is None or profile.costs is None else profile.costs.curves


def _agreement(profile: Profile | None) -> float | None:
    """Share of positions where the small model would have written the large one's token, as calibration saw it."""
    signals = {} if profile is None else profile.signals
    value = signals.get("agreement")
    return value if isinstance(value, float) and 0 < value < 1 else None


def _strategy(
    name: str, small: ModelHeader, large: ModelHeader, *, compatible: bool
) -> dict[str, Any]:
    method = METHODS[name]
    if method.pair and not compatible:
        return {"name": name, "serves": "no", "why": "the two do not share a vocabulary"}
    try:
        check_method(method, {"small": small, "large": large})
    except PairError as error:
        return {"name": name, "serves": "no", "why": error.message}
    if name == "plain":
        serves = "either alone"
    else:
        uses_both = method.pair or (name == "speculate" and compatible)
        serves = "yes" if uses_both else "large alone"
    return {"name": name, "serves": serves, "why": method.about}


def _blocks(data: dict[str, Any]) -> list[Block]:
    sides = [data["small"], data["large"]]
    rows = [
        ("name", *(side["name"] for side in sides)),
        ("file", *(side["path"] for side in sides)),
        ("format", *(side["format"] for side in sides)),
        ("architecture", *(side["architecture"] for side in sides)),
        ("layers", *(many(side["layers"]) for side in sides)),
        ("parameters", *(short(side["parameters"]) for side in sides)),
        ("quantisation", *(side["quantisation"] for side in sides)),
        ("size", *(size(side["bytes"]) for side in sides)),
        ("context", *(many(side["context_limit"]) for side in sides)),
        ("vocabulary", *(many(side["vocabulary"]) for side in sides)),
        ("fingerprint", *(side["vocabulary_fingerprint"] for side in sides)),
        ("memory", *(_total(side["memory"]) for side in sides)),
    ]
    blocks: list[Block] = [
        Table("The pair", ("", "small", "large"), rows),
        Lines("Compatible", _verdict(data)),
        Lines("Cost", _cost(data)),
    ]
    if data["compatible"]:
        blocks.append(_expected_block(data))
    blocks.append(
        Table(
            "Strategies",
            ("name", "serves", "what it does, or why not"),
            [(s["name"], s["serves"], s["why"]) for s in data["strategies"]],
        )
    )
    return blocks


def _total(figures: dict[str, Any]) -> str:
    total = figures["total_bytes"] or figures["weight_bytes"]
    return f"{size(total)} at {many(figures['context'])} tokens"


def _verdict(data: dict[str, Any]) -> list[str]:
    if data["compatible"]:
        lines = ["yes: both mean the same by every token id", *data["remarks"]]
    else:
        lines = [f"no: {data['differences'][0]}", *data["differences"][1:]]
    fit = data["profile"]
    if fit is not None:
        lines.append(
            f"profile {fit['name']} fits" if fit["fits"] else f"but it does not fit: {fit['why']}"
        )
    return lines


def _cost(data: dict[str, Any]) -> list[str]:
    ratio, fit = data["cost_ratio"], data["profile"]
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
            "nothing was measured of these two here, so costs are taken from sizes, and times may differ much: "
            "adec calibrate measures them"
        )
    if data["pays_from"] < 1:
        lines.append(
            f"drafting pays only where more than {share(data['pays_from'])} of the drafts stand"
        )
    else:
        lines.append("drafts of the small model are too dear: nothing can be gained with these two")
    return lines


def _expected_block(data: dict[str, Any]) -> Block:
    rows = []
    for row in data["expected"]:
        gain = row["speed_up"]
        word = f"{number(gain)} x" if row["drafts"] else "none: plain is best"
        seen = "as calibration saw" if row["acceptance"] == data["agreement"] else ""
        rows.append((share(row["acceptance"]), many(row["drafts"]), word, seen))
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
