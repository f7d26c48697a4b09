"""Every strategy by name: what it needs, what it promises, how it is built."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from adec.decoding import plain
from adec.decoding.diffusion import (
    ccd,
    eb_sampler,
    fast_dllm,
    freedave,
    learn2pd,
    localleap,
    prophet,
    reference_steps,
)
from adec.decoding.diffusion.canvas_loop import check_canvas, check_size
from adec.decoding.layers import (
    dynamic_exit,
    layerskip,
    learned_exits,
    sorted_depth,
    stop_exit,
    swift,
    unified_skip,
)
from adec.decoding.pair import (
    adaedl,
    aded,
    bild,
    cascade,
    dyspec,
    ead,
    fly,
    lookup,
    recycling,
    slem,
    smartspec,
    speculate,
    suffix,
    tli,
)
from adec.decoding.search.adadec import AdaDec, AdaDecSettings
from adec.decoding.search.iad import Iad, IadSettings
from adec.decoding.strategy import Aids, Strategy
from adec.engines.base import Capability, ModelHeader
from adec.engines.canvas_model import NO_SEQUENCE
from adec.engines.pair import Engines
from adec.errors import PairError, UsageError
from adec.events.records import Role
from adec.parts.kept_parts import need_part

Needs = Mapping[Role, frozenset[Capability]]
"""Models by role, each with what its engine must be capable of."""


@dataclass(frozen=True)
class Method:
    """A strategy before it has engines."""

    name: str
    about: str
    settings: type[Any]
    build: Callable[[Engines, Any, Aids], Strategy]
    needs: Needs
    """The models that it cannot do without."""
    uses: Needs = field(default_factory=dict)
    """Models that it uses if they are there and capable."""
    needs_by_settings: Callable[[Any], Needs] = lambda settings: {}
    """What it needs beyond `needs` with certain settings."""
    by_text: bool = False
    """Whether its small model may speak another vocabulary."""
    yardstick: bool = False
    """Whether it is what every other method is measured against."""
    whole_answers: bool = False
    """Whether it compares whole answers, scored by a verifier, and ends by itself when
    interrupted."""
    looks_ahead: bool = False
    """Whether it is fed more tokens than it writes, so that a fair comparison counts tokens fed."""
    width: str | None = None
    """The setting for how many candidates it compares; a beam search beside it gets as many."""
    best_of_n: tuple[str, ...] = ()
    """Settings that make best-of-N of it: one round of answers, as many as its budget allows."""
    parts: Callable[[Any], tuple[str, ...]] = lambda settings: ()
    """Kinds of parts that must have been learned for the large model, with these settings."""
    check: Callable[[Any, Mapping[Role, ModelHeader]], None] = lambda settings, models: None
    """Raises UsageError or PairError where these settings ask too much of these models."""
    default_row: Literal["never", "one model", "pair", "always"] = "never"
    """On which models `bench` shows it when no strategies are named."""

    @property
    def pair(self) -> bool:
        """Whether one model alone does not suffice."""
        return len(self.needs) > 1

    @property
    def roles(self) -> tuple[Role, ...]:
        """Every role that it has a use for."""
        return (*self.needs, *self.uses)


_REWIND: frozenset[Capability] = frozenset({"rewind"})
_TREE: frozenset[Capability] = frozenset({"rewind", "tree"})
_LAYERS: frozenset[Capability] = frozenset({"rewind", "layers"})
_ALONE: Needs = {"large": _REWIND}
_CANVAS: Needs = {"large": frozenset({"canvas"})}
_PAIR: Needs = {"small": _REWIND, "large": _REWIND}

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            "plain",
            "one model writes every token; the yardstick",
            plain.PlainSettings,
            plain.build,
            {"large": frozenset()},
            uses={"small": frozenset()},
            yardstick=True,
        ),
        Method(
            "speculate",
            "drafts by whatever pays on this machine, judged exactly by the large model",
            speculate.SpeculateSettings,
            speculate.build,
            _ALONE,
            uses={"small": _REWIND},
            by_text=True,
            default_row="always",
        ),
        Method(
            "ead",
            "the small model writes while it is sure, the large one where it is not",
            ead.EadSettings,
            ead.build,
            {"small": frozenset(), "large": frozenset()},
            needs_by_settings=lambda settings: _PAIR if settings.takes_back else {},
            default_row="pair",
        ),
        Method(
            "dyspec",
            "a token tree grown by the small model's own probabilities",
            dyspec.DySpecSettings,
            dyspec.build,
            {"small": _TREE, "large": _TREE},
        ),
        Method(
            "smartspec",
            "the draft length of greatest expected goodput",
            smartspec.SmartSpecSettings,
            smartspec.build,
            _PAIR,
        ),
        Method(
            "adaedl",
            "the small model drafts until its entropy bounds acceptance too low",
            adaedl.AdaEdlSettings,
            adaedl.build,
            _PAIR,
        ),
        Method(
            "slem",
            "drafts by text: the small model may be of another family",
            slem.SlemSettings,
            slem.build,
            _PAIR,
            by_text=True,
        ),
        Method(
            "tli",
            "drafts from the tokens that two vocabularies share, drawn and judged by rejection",
            tli.TliSettings,
            tli.build,
            _PAIR,
            by_text=True,
        ),
        Method(
            "cascade",
            "a deferral rule says token by token whose distribution counts",
            cascade.CascadeSettings,
            cascade.build,
            _PAIR,
        ),
        Method(
            "bild",
            "the small model writes until unsure; the large one rolls back grave errors",
            bild.BildSettings,
            bild.build,
            _PAIR,
        ),
        Method(
            "fly",
            "a lone draft that differs stands when those after it agree",
            fly.FlySettings,
            fly.build,
            _PAIR,
        ),
        Method(
            "aded",
            "drafts from a tri-gram table by tree search; one model",
            aded.AdedSettings,
            aded.build,
            _ALONE,
        ),
        Method(
            "recycling",
            "drafts what the model nearly said before; one model",
            recycling.RecyclingSettings,
            recycling.build,
            _ALONE,
            default_row="one model",
        ),
        Method(
            "suffix",
            "drafts what most often followed the longest repetition; one model",
            suffix.SuffixSettings,
            suffix.build,
            _ALONE,
        ),
        Method(
            "lookup",
            "drafts what followed the same words earlier in the text; one model",
            lookup.LookupSettings,
            lookup.build,
            _ALONE,
            default_row="always",
        ),
        Method(
            "layerskip",
            "a model's own lower layers draft, a fixed number of tokens; its other layers verify",
            layerskip.LayerSkipSettings,
            layerskip.build,
            {"large": _LAYERS},
        ),
        Method(
            "del",
            "the same, with exit layer and draft length chosen anew in every round",
            dynamic_exit.DelSettings,
            dynamic_exit.build,
            {"large": _LAYERS},
        ),
        Method(
            "swift",
            "a model drafts with some of its layers left out, and finds out which while it writes",
            swift.SwiftSettings,
            swift.build,
            {"large": _LAYERS},
        ),
        Method(
            "skip",
            "every token leaves out the same layers, for a target speed-up",
            unified_skip.SkipSettings,
            unified_skip.build,
            {"large": _LAYERS},
        ),
        Method(
            "sorted",
            "a nested model of fewer layers, or for each token as many as it needs to be sure",
            sorted_depth.SortedSettings,
            sorted_depth.build,
            {"large": _LAYERS},
        ),
        Method(
            "exits",
            "a token leaves at the layer where a learned classifier is sure of it",
            learned_exits.ExitSettings,
            learned_exits.build,
            {"large": _LAYERS},
            parts=learned_exits.parts,
        ),
        Method(
            "sec",
            "likewise, and an answer that seems lost is given up before it is finished",
            stop_exit.SecSettings,
            stop_exit.build,
            {"large": _LAYERS},
            parts=stop_exit.parts,
        ),
        Method(
            "adadec",
            "pauses where the model is unsure, and looks ahead before it writes",
            AdaDecSettings,
            AdaDec,
            {"large": _TREE},
            uses={"small": _TREE},
            looks_ahead=True,
            width="candidates",
        ),
        Method(
            "iad",
            "rounds of whole answers, scored by a verifier; the best one is shown",
            IadSettings,
            Iad,
            _ALONE,
            uses={"small": _REWIND},
            whole_answers=True,
            looks_ahead=True,
            best_of_n=("rounds=1", "candidates=1000"),
        ),
        Method(
            "steps",
            "a diffusion model fills so many positions a forward; the yardstick at one",
            reference_steps.StepsSettings,
            reference_steps.build,
            _CANVAS,
            yardstick=True,
            check=check_canvas,
        ),
        Method(
            "threshold",
            "a diffusion model fills every position that it is sure of",
            fast_dllm.ThresholdSettings,
            fast_dllm.build,
            _CANVAS,
            check=check_canvas,
            default_row="always",
        ),
        Method(
            "entropy",
            "a diffusion model fills as many positions as their entropies allow",
            eb_sampler.EntropySettings,
            eb_sampler.build,
            _CANVAS,
            check=check_canvas,
            default_row="always",
        ),
        Method(
            "freedave",
            "what one position a forward would write; several steps verified at once",
            freedave.FreeDaveSettings,
            freedave.build,
            _CANVAS,
            check=check_size,
            default_row="always",
        ),
        Method(
            "learn2pd",
            "a diffusion model fills what a learned filter takes for final",
            learn2pd.Learn2pdSettings,
            learn2pd.build,
            _CANVAS,
            check=check_canvas,
            parts=learn2pd.parts,
        ),
        Method(
            "localleap",
            "a diffusion model fills what it is sure of, and beside that what is nearly sure",
            localleap.LocalLeapSettings,
            localleap.build,
            _CANVAS,
            check=check_canvas,
        ),
        Method(
            "prophet",
            "a diffusion model fills all the rest at once when the answer is settled",
            prophet.ProphetSettings,
            prophet.build,
            _CANVAS,
            check=check_canvas,
        ),
        Method(
            "ccd",
            "a diffusion model fills what it predicts alike from step to step",
            ccd.CcdSettings,
            ccd.build,
            _CANVAS,
            check=check_canvas,
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


def default_method(models: Mapping[Role, ModelHeader]) -> Method:
    """What runs unless told otherwise: exact speculation, or plain if drafts cannot be undone.

    A diffusion model fills one position a forward. A model behind a server writes plainly, too: a
    whole answer is one request there, while every draft costs a round trip.
    """
    large = models["large"]
    if "canvas" in large.capabilities:
        return METHODS["steps"]
    able = "speculate" in remaining(models) and large.info.likeliest is None
    return METHODS["speculate" if able else "plain"]


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
