"""Every strategy by name: what it needs, what it promises, how it is built."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from adec.decoding.pair import (
    adaedl,
    aded,
    bild,
    cascade,
    dyspec,
    fly,
    lookup,
    recycling,
    smartspec,
    speculate,
)
from adec.decoding.pair.ead import Ead, EadSettings
from adec.decoding.plain import Plain
from adec.decoding.search.adadec import AdaDec, AdaDecSettings
from adec.decoding.search.iad import Iad, IadSettings
from adec.decoding.settings import setting
from adec.decoding.strategy import Strategy
from adec.engines.base import Capability, ModelHeader
from adec.engines.pair import Engines
from adec.errors import PairError, UsageError


@dataclass(frozen=True, slots=True)
class PlainSettings:
    """`--set plain.NAME=VALUE`."""

    model: Literal["large", "small"] = setting("large", "which model of a pair answers")


@dataclass(frozen=True)
class Method:
    """A strategy before it has engines."""

    name: str
    about: str
    settings: type[Any]
    pair: bool
    """Whether it needs a small model beside the large one."""
    needs: frozenset[Capability]
    """What every engine of it must be capable of."""
    build: Callable[[Engines, Any], Strategy]


def _plain(engines: Engines, settings: PlainSettings) -> Strategy:
    if settings.model == "large":
        return Plain(engines.large)
    if engines.small is None:
        raise UsageError(
            "plain.model=small needs a pair", hint="give --small and --large, or --pair"
        )
    return Plain(engines.small, "small")


def _ead(engines: Engines, settings: EadSettings) -> Strategy:
    assert engines.small is not None  # check_method has seen to it
    return Ead(engines.small, engines.large, settings)


_REWIND: frozenset[Capability] = frozenset({"rewind"})

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            "plain",
            "one model writes every token; the yardstick",
            PlainSettings,
            pair=False,
            needs=frozenset(),
            build=_plain,
        ),
        Method(
            "speculate",
            "drafts by whatever pays on this machine, judged exactly by the large model",
            speculate.SpeculateSettings,
            pair=False,
            needs=_REWIND,
            build=speculate.build,
        ),
        Method(
            "ead",
            "the small model writes while it is sure, the large one where it is not",
            EadSettings,
            pair=True,
            needs=_REWIND,
            build=_ead,
        ),
        Method(
            "dyspec",
            "a token tree grown by the small model's own probabilities",
            dyspec.DySpecSettings,
            pair=True,
            needs=frozenset({"rewind", "tree"}),
            build=dyspec.build,
        ),
        Method(
            "smartspec",
            "the draft length of greatest expected goodput",
            smartspec.SmartSpecSettings,
            pair=True,
            needs=_REWIND,
            build=smartspec.build,
        ),
        Method(
            "adaedl",
            "the small model drafts until its entropy bounds acceptance too low",
            adaedl.AdaEdlSettings,
            pair=True,
            needs=_REWIND,
            build=adaedl.build,
        ),
        Method(
            "cascade",
            "a deferral rule says token by token whose distribution counts",
            cascade.CascadeSettings,
            pair=True,
            needs=_REWIND,
            build=cascade.build,
        ),
        Method(
            "bild",
            "the small model writes until unsure; the large one rolls back grave errors",
            bild.BildSettings,
            pair=True,
            needs=_REWIND,
            build=bild.build,
        ),
        Method(
            "fly",
            "a lone draft that differs stands when those after it agree",
            fly.FlySettings,
            pair=True,
            needs=_REWIND,
            build=fly.build,
        ),
        Method(
            "aded",
            "drafts from a tri-gram table by tree search; one model",
            aded.AdedSettings,
            pair=False,
            needs=_REWIND,
            build=aded.build,
        ),
        Method(
            "recycling",
            "drafts what the model nearly said before; one model",
            recycling.RecyclingSettings,
            pair=False,
            needs=_REWIND,
            build=recycling.build,
        ),
        Method(
            "lookup",
            "drafts what followed the same words earlier in the text; one model",
            lookup.LookupSettings,
            pair=False,
            needs=_REWIND,
            build=lookup.build,
        ),
        Method(
            "adadec",
            "pauses where the model is unsure, and looks ahead before it writes",
            AdaDecSettings,
            pair=False,
            needs=frozenset({"rewind", "tree"}),
            build=AdaDec,
        ),
        Method(
            "iad",
            "rounds of whole answers, scored by a verifier; the best one is shown",
            IadSettings,
            pair=False,
            needs=_REWIND,
            build=Iad,
        ),
    )
}


def find_method(name: str) -> Method:
    """The method of that name. Raises UsageError, with the nearest name."""
    if name in METHODS:
        return METHODS[name]
    near = difflib.get_close_matches(name, METHODS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(METHODS)}"
    raise UsageError(f"there is no strategy {name!r}", hint=hint)


def check_method(method: Method, large: ModelHeader, small: ModelHeader | None) -> None:
    """Raise PairError unless these models can serve the method. Headers suffice; nothing is loaded."""
    if method.pair and small is None:
        raise UsageError(
            f"{method.name} needs two models",
            hint="give --small and --large, or --pair; or use --strategy plain",
        )
    for header in (large,) if small is None else (small, large):
        for capability in sorted(method.needs - header.capabilities):
            why = header.missing.get(capability, f"it has no {capability}")
            raise PairError(
                f"{method.name} cannot run on {header.info.name}: {why}",
                hint=f"what remains: {', '.join(remaining(large, small))}",
            )


def remaining(large: ModelHeader, small: ModelHeader | None) -> list[str]:
    """Names of the methods that these models can serve."""
    headers = (large,) if small is None else (small, large)
    return [
        method.name
        for method in METHODS.values()
        if not (method.pair and small is None)
        and all(method.needs <= header.capabilities for header in headers)
    ]
