"""LayerSkip: a fixed exit layer drafts a fixed number of tokens, the other layers verify.

Elhoushi et al. 2024, "LayerSkip: Enabling Early Exit Inference and Self-Speculative Decoding",
arXiv 2404.16710. The yardstick of this family. It gains on models that were trained with layer
dropout and early exits; elsewhere the lower layers seldom know the next token.

What is different here: rounds are plain where the forecast says that the exit does not pay, by
what it would have said of the prompt's end and by the drafts that stood (`paying_exits.py`). With
`always` every round drafts, as in the paper. The loop is `self_draft.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from adec.decoding.layers.drafting.paying_exits import PayingExits
from adec.decoding.layers.drafting.self_draft import Exit, ExitRule, SelfDraft
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids
from adec.engines.base import ModelInfo
from adec.engines.pair import Engines
from adec.engines.protocols import LayerEngine
from adec.errors import UsageError


class FixedExit(ExitRule):
    """The same exit and length in every round."""

    def __init__(self, depth: int, length: int) -> None:
        self._exit = Exit(depth, length)

    def start(self, engine: LayerEngine) -> None:
        """Nothing to begin."""

    def choose(self) -> Exit:
        """The exit that was asked for."""
        return self._exit


class PayingExit(PayingExits):
    """The same exit and length in every round that drafts."""

    def __init__(self, depth: int, length: int) -> None:
        super().__init__(length, depths=[depth])

    def rate(self, depth: int, acceptance: float) -> tuple[float, int]:
        """That of the fixed length."""
        tokens = sum(acceptance**place for place in range(self._longest + 1))
        return tokens / self._times.round_ms(depth, self._longest), self._longest


@dataclass(frozen=True, slots=True)
class LayerSkipSettings:
    """`--set layerskip.NAME=VALUE`."""

    exit: int = setting(0, "layers that draft; 0: a quarter of them (paper: 8 of 32)", least=0)
    length: int = setting(6, "tokens drafted a round (paper: 6)", least=1, most=64)
    always: bool = setting(False, "draft in every round, even where that is slower (paper: true)")


def exit_of(settings: LayerSkipSettings, info: ModelInfo) -> int:
    """The layer to leave at. Raises UsageError where the model has no such layer."""
    layers = info.layers
    depth = settings.exit or max(1, layers // 4)
    if not 1 <= depth < layers:
        raise UsageError(
            f"layerskip.exit={depth}: {info.name} has {layers} layers",
            hint=f"choose 1 to {layers - 1}" if layers > 1 else "take another strategy",
        )
    return depth


def build(engines: Engines, settings: LayerSkipSettings, aids: Aids) -> SelfDraft:
    """LayerSkip on the large model. Raises UsageError where it has no such layer to leave at."""
    engine = cast(LayerEngine, engines["large"])
    depth = exit_of(settings, engine.info)
    rule = (FixedExit if settings.always else PayingExit)(depth, settings.length)
    return SelfDraft("layerskip", "arXiv 2404.16710", engine, rule)
