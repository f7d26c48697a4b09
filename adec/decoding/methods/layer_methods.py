"""One model at several depths: its own layers draft, or a token does without some of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from adec.decoding.layers import (
    learned_exits,
    predicted_neurons,
    prompt_routers,
    sorted_depth,
    stop_exit,
    unified_skip,
)
from adec.decoding.layers.drafting import dynamic_exit, layerskip, swift
from adec.decoding.method import LAYERS, Method
from adec.engines.base import ModelHeader, ModelInfo
from adec.events.records import Role


def _of_large(
    check: Callable[[Any, ModelInfo], object],
) -> Callable[[Any, Mapping[Role, ModelHeader]], None]:
    """What settings ask of the large model's depth, which its header tells."""

    def of_models(settings: Any, models: Mapping[Role, ModelHeader]) -> None:
        check(settings, models["large"].info)

    return of_models


LAYER_METHODS = (
    Method(
        "layerskip",
        "a model's own lower layers draft, a fixed number of tokens; its other layers verify",
        layerskip.LayerSkipSettings,
        layerskip.build,
        {"large": LAYERS},
        check=_of_large(layerskip.exit_of),
    ),
    Method(
        "del",
        "the same, with exit layer and draft length chosen anew in every round",
        dynamic_exit.DelSettings,
        dynamic_exit.build,
        {"large": LAYERS},
        check=_of_large(dynamic_exit.check),
    ),
    Method(
        "swift",
        "a model drafts with some of its layers left out, and finds out which while it writes",
        swift.SwiftSettings,
        swift.build,
        {"large": LAYERS},
        check=_of_large(swift.check),
    ),
    Method(
        "skip",
        "every token leaves out the same layers, for a target speed-up",
        unified_skip.SkipSettings,
        unified_skip.build,
        {"large": LAYERS},
        check=_of_large(unified_skip.check),
    ),
    Method(
        "first",
        "learned routers look at the prompt and choose the layers of the whole answer",
        prompt_routers.FirstSettings,
        prompt_routers.build,
        {"large": LAYERS},
        parts=prompt_routers.parts,
    ),
    Method(
        "neurons",
        "learned gates say which feed-forward neurons a token needs, and only those are computed",
        predicted_neurons.NeuronSettings,
        predicted_neurons.build,
        {"large": LAYERS},
        parts=predicted_neurons.parts,
    ),
    Method(
        "sorted",
        "a nested model of fewer layers, or for each token as many as it needs to be sure",
        sorted_depth.SortedSettings,
        sorted_depth.build,
        {"large": LAYERS},
        check=_of_large(sorted_depth.check),
    ),
    Method(
        "exits",
        "a token leaves at the layer where a learned classifier is sure of it",
        learned_exits.ExitSettings,
        learned_exits.build,
        {"large": LAYERS},
        check=_of_large(learned_exits.check),
        parts=learned_exits.parts,
    ),
    Method(
        "sec",
        "likewise, and an answer that seems lost is given up before it is finished",
        stop_exit.SecSettings,
        stop_exit.build,
        {"large": LAYERS},
        check=_of_large(stop_exit.check),
        parts=stop_exit.parts,
    ),
)
