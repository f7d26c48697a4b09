"""What a profile promises, on which evidence, and what speed to expect of it on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from adec.engines.base import ModelHeader
from adec.inspection.figures import many, milliseconds, number, share
from adec.profiles.read import Profile


def promise_data(profile: Profile) -> dict[str, Any] | None:
    """The budget as plain data; None where nothing is promised."""
    budget = profile.budget
    if budget is None:
        return None
    return {name: getattr(budget, name) for name in budget.__dataclass_fields__}


def speed_data(
    profile: Profile, large: ModelHeader | None, small: ModelHeader | None
) -> dict[str, Any] | None:
    """Measured speeds, and whether they hold here; None where nothing was measured.

    `void` says why they do not hold, or why the proof does not; None where the large model is missing, since nobody can tell.
    """
    choice, costs = profile.choice, profile.costs
    if choice is None and costs is None:
        return None
    data: dict[str, Any] = {"machine": dict(profile.machine)}
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
