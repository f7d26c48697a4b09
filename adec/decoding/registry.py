"""Every strategy by name, and which of them some models can serve."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from adec.decoding import plain
from adec.decoding.method import Method
from adec.decoding.methods.canvas_methods import CANVAS_METHODS
from adec.decoding.methods.heads_methods import HEADS_METHODS
from adec.decoding.methods.layer_methods import LAYER_METHODS
from adec.decoding.methods.pair_methods import PAIR_METHODS
from adec.decoding.methods.search_methods import SEARCH_METHODS
from adec.engines.base import Capability, ModelHeader
from adec.engines.canvas_model import NO_SEQUENCE
from adec.errors import PairError, UsageError
from adec.events.records import Role
from adec.parts.kept_parts import need_part

PLAIN = Method(
    "plain",
    "one model writes every token; the yardstick",
    plain.PlainSettings,
    plain.build,
    {"large": frozenset()},
    uses={"small": frozenset()},
    yardstick=True,
)

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        PLAIN,
        *PAIR_METHODS,
        *LAYER_METHODS,
        *HEADS_METHODS,
        *SEARCH_METHODS,
        *CANVAS_METHODS,
    )
}


def find_method(name: str) -> Method:
    """The method of that name. Raises UsageError, with the nearest name."""
    if name in METHODS:
        return METHODS[name]
    near = difflib.get_close_matches(name, METHODS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(METHODS)}"
    raise UsageError(f"there is no strategy {name!r}", hint=hint)


def default_method(models: Mapping[Role, ModelHeader]) -> Method:
    """What runs unless told otherwise: exact speculation, or plain if drafts cannot be undone.

    A diffusion model fills one position a forward. A model behind a server writes plainly, too: a
    whole answer is one request there, while every draft costs a round trip.
    """
    large = models["large"]
    if "canvas" in large.capabilities:
        return yardstick(models)
    able = "speculate" in remaining(models) and large.info.likeliest is None
    return METHODS["speculate" if able else "plain"]


def yardstick(models: Mapping[Role, ModelHeader]) -> Method:
    """What every other method on these models is measured against."""
    return METHODS["steps" if "canvas" in models["large"].capabilities else "plain"]


def check_method(method: Method, models: Mapping[Role, ModelHeader], settings: Any = None) -> None:
    """Check that these models can serve the method. Headers suffice; nothing is loaded.

    With `settings`, also what these need beyond the method itself.
    Raises UsageError when a model or a part of it is missing, PairError when one of them cannot do
    what it must.
    """
    if any(role not in models for role in method.needs):
        raise UsageError(
            f"{method.name} needs two models",
            hint="give --small and --large, or --pair; or use --strategy plain",
        )
    needs = method.needs if settings is None else method.needs_by_settings(settings)
    for role, needed in needs.items():
        why = shortcoming(models[role], needed)
        if why is not None:
            what = method.name if settings is None else f"{method.name} with these settings"
            raise PairError(
                f"{what} cannot run on {models[role].info.name}: {why}",
                hint=f"what remains: {', '.join(remaining(models))}",
            )
    if settings is not None:
        method.check(settings, models)
        for kind in method.parts(settings):
            need_part(kind, models["large"].info)


def shortcoming(model: ModelHeader, needed: frozenset[Capability]) -> str | None:
    """Why a model cannot do what is needed, as half a sentence; None when it can."""
    lacking = sorted(needed - model.capabilities)
    if "canvas" in lacking:
        return "it writes from left to right, and is no diffusion model"
    if "canvas" in model.capabilities and "canvas" not in needed:
        return NO_SEQUENCE
    return "; ".join(model.missing.get(what, f"it has no {what}") for what in lacking) or None


def remaining(models: Mapping[Role, ModelHeader]) -> list[str]:
    """Names of the methods that these models can serve."""
    return [
        method.name
        for method in METHODS.values()
        if all(
            role in models and shortcoming(models[role], needed) is None
            for role, needed in method.needs.items()
        )
    ]
