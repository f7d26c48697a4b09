"""One model at several depths: its own layers draft, or a token does without some of them."""

from __future__ import annotations

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

LAYER_METHODS = (
    Method(
        "layerskip",
        "a model's own lower layers draft, a fixed number of tokens; its other layers verify",
        layerskip.LayerSkipSettings,
        layerskip.build,
        {"large": LAYERS},
    ),
    Method(
        "del",
        "the same, with exit layer and draft length chosen anew in every round",
        dynamic_exit.DelSettings,
        dynamic_exit.build,
        {"large": LAYERS},
    ),
    Method(
        "swift",
        "a model drafts with some of its layers left out, and finds out which while it writes",
        swift.SwiftSettings,
        swift.build,
        {"large": LAYERS},
    ),
    Method(
        "skip",
        "every token leaves out the same layers, for a target speed-up",
        unified_skip.SkipSettings,
        unified_skip.build,
        {"large": LAYERS},
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
    ),
    Method(
        "exits",
        "a token leaves at the layer where a learned classifier is sure of it",
        learned_exits.ExitSettings,
        learned_exits.build,
        {"large": LAYERS},
        parts=learned_exits.parts,
    ),
    Method(
        "sec",
        "likewise, and an answer that seems lost is given up before it is finished",
        stop_exit.SecSettings,
        stop_exit.build,
        {"large": LAYERS},
        parts=stop_exit.parts,
    ),
)
