"""`--stop-when-lost`: what it needs, told before weights are loaded, and the gate itself."""

from __future__ import annotations

from typing import cast

from adec.decoding.layers.stop_exit import KIND
from adec.decoding.layers.stop_gate import THRESHOLD, StopWhenLost
from adec.decoding.method import LAYERS, Method
from adec.decoding.registry import shortcoming
from adec.decoding.strategy import Aids, Strategy
from adec.engines.base import ModelHeader
from adec.engines.pair import Engines
from adec.engines.protocols import LayerEngine
from adec.errors import PairError, UsageError
from adec.parts.kept_parts import need_part


def check_gate(method: Method, large: ModelHeader, *, bitwise: bool) -> None:
    """Raise UsageError or PairError where answers of the method cannot be given up so."""
    if method.whole_answers:
        raise UsageError(
            f"--stop-when-lost ends an answer under way, and {method.name} compares whole ones",
            hint="leave it away, or take another strategy",
        )
    if bitwise:
        raise UsageError("--stop-when-lost and --exactness bitwise exclude each other")
    why = shortcoming(large, LAYERS)
    if why is not None:
        raise PairError(
            f"--stop-when-lost looks into the layers of {large.info.name}: {why}",
            hint="give a Hugging Face folder, or --engine torch",
        )
    need_part(KIND, large.info).number(THRESHOLD, least=0, most=1)


def gate(strategy: Strategy, engines: Engines, aids: Aids) -> Strategy:
    """The strategy, its answers ending where they seem lost to the large model's layers."""
    return StopWhenLost(strategy, cast(LayerEngine, engines["large"]), aids.part)
