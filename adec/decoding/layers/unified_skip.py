"""Unified Layer Skipping: for a target speed-up, every token leaves out the same layers.

Liu et al. 2024, "Accelerating Inference in Large Language Models with a Unified Layer Skipping
Strategy", arXiv 2404.06954. Of L layers, floor(L / speed-up) run: the lowest, the highest, and the
others at even distances. The prompt is read with all layers. The choice does not depend on the
text, so the cache needs no repair: what left a layer out is never seen there.

What is different here: layers are spread by rounding an even division of 0 to L - 1. The paper's
step, floor(L / (kept - 1)), becomes 1 below a speed-up of about 2 and keeps a block at the bottom.
The paper's models were tuned with the very layers left out; models that were not lose much more.
The loop is `same_layers.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from adec.decoding.layers.same_layers import SameLayers
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids, Limits
from adec.engines.base import ModelInfo
from adec.engines.pair import Engines
from adec.engines.protocols import LayerEngine
from adec.errors import UsageError


def kept_layers(layers: int, speedup: float) -> list[int]:
    """The layers that run, rising: at least the lowest and the highest."""
    count = max(2, int(layers / speedup))
    return sorted({round(i * (layers - 1) / (count - 1)) for i in range(count)})


class UnifiedSkip(SameLayers):
    """The same evenly spread layers for every answer."""

    def __init__(self, engine: LayerEngine, speedup: float) -> None:
        super().__init__("skip", "arXiv 2404.06954", engine)
        self._kept = kept_layers(engine.info.layers, speedup)

    def choose(self, prompt: Sequence[int], limits: Limits) -> Sequence[int]:
        """The same for every prompt."""
        return self._kept


@dataclass(frozen=True, slots=True)
class SkipSettings:
    """`--set skip.NAME=VALUE`."""

    speedup: float = setting(
        2.0, "layers in the model for each that runs (paper: 2 and 5)", least=1, most=100
    )


def check(settings: SkipSettings, info: ModelInfo) -> None:
    """Raise UsageError where the model has fewer than three layers."""
    if info.layers < 3:
        raise UsageError(f"skip: {info.name} has no layer between its lowest and its highest")


def build(engines: Engines, settings: SkipSettings, aids: Aids) -> UnifiedSkip:
    """Layer skipping on the large model. Raises UsageError where it has fewer than three layers."""
    engine = cast(LayerEngine, engines["large"])
    check(settings, engine.info)
    return UnifiedSkip(engine, settings.speedup)
