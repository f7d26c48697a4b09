"""Entropy Adaptive Decoding: the small model writes while it is sure, the large one where it is not.

Simonds 2025, "Entropy Adaptive Decoding: Dynamic Model Switching for Efficient Inference", arXiv 2502.06833.

What the paper leaves open is a setting here: two thresholds instead of one (hysteresis), whether the window is
cleared when models change hands, and a dwell down to none. The row that raises the alarm is not used: the token of that
position is the first one that the large model writes. A model that wakes reads what it missed in one batched forward, which
is counted. `accept=exact` lets the same forward judge the drafts, which makes the method lossless.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from adec.decoding.pair.loop import PairLoop
from adec.decoding.pair.switching import EntropyRule
from adec.decoding.settings import setting
from adec.decoding.strategy import Limits
from adec.engines.base import Engine
from adec.events.records import Guarantee, Step


@dataclass(frozen=True, slots=True)
class EadSettings:
    """`--set ead.NAME=VALUE`. Window and dwell are the paper's; its threshold is left to the user, ours is one bit."""

    up: float = setting(0.693, "nats above which the large model wakes", least=0)
    down: float | None = setting(
        None, "nats at or below which it hands back; as ead.up when not given", least=0
    )
    window: int = setting(5, "tokens in the rolling mean of entropy", least=1, most=10_000)
    dwell: int = setting(
        10, "tokens that a model writes at least; 0: each is decided on its own", least=0
    )
    reset: bool = setting(False, "clear the window when models change hands")
    accept: Literal["none", "exact"] = setting(
        "none", "none: trust the small model (the paper). exact: the large one judges every draft"
    )
    longest: int = setting(
        16, "tokens drafted at most before the large model judges (exact only)", least=1
    )


class Ead:
    """EAD on two engines that share a vocabulary."""

    name = "ead"
    paper = "arXiv 2502.06833"

    def __init__(self, small: Engine, large: Engine, settings: EadSettings) -> None:
        self._small = small
        self._large = large
        self._settings = settings

    @property
    def guarantee(self) -> Guarantee:
        return Guarantee.EXACT if self._settings.accept == "exact" else Guarantee.APPROXIMATE

    def generate(self, prompt: list[int], limits: Limits) -> Iterator[Step]:
        """See `Strategy.generate`."""
        chosen = self._settings
        rule = EntropyRule(
            up=chosen.up,
            down=chosen.up if chosen.down is None else chosen.down,
            window=chosen.window,
            dwell=chosen.dwell,
            reset=chosen.reset,
        )
        loop = PairLoop(
            self._small,
            self._large,
            rule,
            verify=chosen.accept == "exact",
            longest=chosen.longest,
            prompt=prompt,
            limits=limits,
        )
        return loop.run()
