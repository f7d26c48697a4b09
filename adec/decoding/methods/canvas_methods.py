"""Masked diffusion models: which positions of a canvas stand after each forward."""

from __future__ import annotations

from adec.decoding.diffusion import (
    ccd,
    eb_sampler,
    fast_dllm,
    freedave,
    frontier,
    learn2pd,
    localleap,
    prophet,
    reference_steps,
)
from adec.decoding.diffusion.canvas_loop import check_canvas, check_size
from adec.decoding.method import CANVAS, Method

CANVAS_METHODS = (
    Method(
        "steps",
        "a diffusion model fills so many positions a forward; the yardstick at one",
        reference_steps.StepsSettings,
        reference_steps.build,
        CANVAS,
        yardstick=True,
        check=check_canvas,
    ),
    Method(
        "threshold",
        "a diffusion model fills every position that it is sure of",
        fast_dllm.ThresholdSettings,
        fast_dllm.build,
        CANVAS,
        check=check_canvas,
        default_row="always",
    ),
    Method(
        "entropy",
        "a diffusion model fills as many positions as their entropies allow",
        eb_sampler.EntropySettings,
        eb_sampler.build,
        CANVAS,
        check=check_canvas,
        default_row="always",
    ),
    Method(
        "freedave",
        "what one position a forward would write; several steps verified at once",
        freedave.FreeDaveSettings,
        freedave.build,
        CANVAS,
        check=check_size,
        default_row="always",
    ),
    Method(
        "frontier",
        "a diffusion model fills what it is sure of and continues what stands",
        frontier.FrontierSettings,
        frontier.build,
        CANVAS,
        check=check_canvas,
        default_row="always",
    ),
    Method(
        "learn2pd",
        "a diffusion model fills what a learned filter takes for final",
        learn2pd.Learn2pdSettings,
        learn2pd.build,
        CANVAS,
        check=check_canvas,
        parts=learn2pd.parts,
    ),
    Method(
        "localleap",
        "a diffusion model fills what it is sure of, and beside that what is nearly sure",
        localleap.LocalLeapSettings,
        localleap.build,
        CANVAS,
        check=check_canvas,
    ),
    Method(
        "prophet",
        "a diffusion model fills all the rest at once when the answer is settled",
        prophet.ProphetSettings,
        prophet.build,
        CANVAS,
        check=check_canvas,
    ),
    Method(
        "ccd",
        "a diffusion model fills what it predicts alike from step to step",
        ccd.CcdSettings,
        ccd.build,
        CANVAS,
        check=check_canvas,
    ),
)
