"""DYNAMAX: classifiers learned for one model say at which layer a token may leave.

Nogales et al. 2025, "DYNAMAX: Dynamic computing for Transformers and Mamba based architectures",
arXiv 2504.20922. Classifiers stand in the upper half of the layers. They learn from the model
itself: an exit is right where its likeliest token is among the k likeliest of the whole model. At
the first exit whose classifier is at least `threshold` sure, norm and head write the token.

What is different here: keys and values of the layers above are projected from the state at the exit
(state propagation), where the paper copies those of the layer below. The threshold comes from
`adec calibrate MODEL --fit exits`, which keeps a share of the tokens. The loop is `early_exit.py`,
the classifiers are `exit_classifiers.py`. The paper's repetition penalty is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from adec.decoding.layers.early_exit import EarlyExit, LeaveRule, Verdict
from adec.decoding.layers.exit_classifiers import Classifiers, classifiers_of
from adec.decoding.layers.sorted_depth import check_depth, control_rule
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids, Limits
from adec.engines.base import ModelInfo
from adec.engines.pair import Engines
from adec.engines.protocols import LayerEngine
from adec.parts.part import Part

KIND = "exits"
"""Of the part that it needs."""


class LearnedExits(LeaveRule):
    """Leave at the first exit whose classifier is sure enough."""

    def __init__(self, part: Callable[[], Part], threshold: float | None, first: int) -> None:
        """`part` is asked for when the first answer begins; without a threshold, so is its own."""
        self._part = part
        self._threshold = threshold
        self._first = first
        self._classifiers: Classifiers | None = None
        self._depths: tuple[int, ...] = ()

    def start(self, engine: LayerEngine, limits: Limits) -> None:
        """Forget the answer before.

        Raises UsageError where there is no part, ModelFileError where it does not fit.
        """
        if self._classifiers is None:
            part = self._part()
            if self._threshold is None:
                self._threshold = part.number("threshold", least=0, most=1)
            self._classifiers = classifiers_of(part, engine.info.layers)
            self._depths = tuple(d for d in self._classifiers.depths if d >= self._first)
        self._classifiers.start()

    def stops(self, position: int) -> Sequence[int]:
        """The exits that have a classifier."""
        return self._depths

    def ask(self, engine: LayerEngine, depth: int) -> Verdict:
        """The classifier's verdict, which needs no head."""
        assert self._classifiers is not None and self._threshold is not None
        self.sure = self._classifiers.probability(depth, engine.states_at(depth)[0])
        return "leave" if self.sure >= self._threshold else "climb"


@dataclass(frozen=True, slots=True)
class ExitSettings:
    """`--set exits.NAME=VALUE`."""

    threshold: float | None = setting(
        None, "how sure a classifier must be; none: what was found to keep the answers",
        least=0, most=1,
    )  # fmt: skip
    first: int = setting(0, "lowest exit; 0: the lowest that has a classifier", least=0)
    control: Literal["none", "fixed", "random"] = setting(
        "none", "for comparison: leave at `depth`, or at random depths around it, without a look"
    )
    depth: int = setting(0, "mean depth of a control; 0: half of the layers", least=0)


def parts(settings: ExitSettings) -> tuple[str, ...]:
    """The part that the classifiers are in; a control looks at none."""
    return (KIND,) if settings.control == "none" else ()


def check(settings: ExitSettings, info: ModelInfo) -> None:
    """Raise UsageError for a depth that the model does not have."""
    check_depth("exits.depth", settings.depth, info)
    check_depth("exits.first", settings.first, info)


def build(engines: Engines, settings: ExitSettings, aids: Aids) -> EarlyExit:
    """Learned exits on the large model. Raises UsageError for a depth that is not there."""
    engine = cast(LayerEngine, engines["large"])
    check(settings, engine.info)
    rule = control_rule(settings.control, settings.depth, engine)
    if rule is None:
        rule = LearnedExits(lambda: aids.part(KIND), settings.threshold, settings.first)
    return EarlyExit("exits", "arXiv 2504.20922", engine, rule)
