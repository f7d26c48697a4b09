"""SEC: learned classifiers let a token leave early, or end an answer that is about to be wrong.

Sun et al. 2024, "When Neural Code Completion Models Size up the Situation: Attaining Cheaper and
Faster Completion through Dynamic Model Inference", ICSE 2024, arXiv 2401.09964. At every exit a
classifier sees the state of the newest token:

    exit       norm and head write the token here
    stop       the completion ends before this token, since what follows would be wrong
    continue   the next layers run

What is different here: two classifiers of two answers instead of one of three, since an answer may
be sure of its next token and lost all the same. The head is the model's own, the paper trains one
for each layer. Exits are right where they name the model's own token; an answer is lost where the
checker of its prompt says that it was wrong. Keys and values above an exit are projected from its
state. Both thresholds come from `adec calibrate MODEL --fit sec`. The loop is `early_exit.py`.
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

KIND = "sec"
"""Of the part that it needs."""
EXIT, STOP = "exit.", "stop."
"""What the names of the arrays of each kind of classifier begin with."""


class StopOrExit(LeaveRule):
    """Stop where an answer seems lost, leave where the exit seems right, climb on elsewhere."""

    def __init__(
        self, part: Callable[[], Part], exit_at: float | None, stop_at: float | None
    ) -> None:
        """`part` is asked for when the first answer begins; without thresholds, so are its own."""
        self._part = part
        self._exit_at = exit_at
        self._stop_at = stop_at
        self._exits: Classifiers | None = None
        self._stops: Classifiers | None = None

    def start(self, engine: LayerEngine, limits: Limits) -> None:
        """Forget the answer before.

        Raises UsageError where there is no part, ModelFileError where it does not fit.
        """
        if self._exits is None or self._stops is None:
            part = self._part()
            if self._exit_at is None:
                self._exit_at = part.number("exit_threshold", least=0, most=1)
            if self._stop_at is None:
                self._stop_at = part.number("stop_threshold", least=0, most=1)
            self._exits = classifiers_of(part, engine.info.layers, EXIT)
            self._stops = classifiers_of(part, engine.info.layers, STOP)
        self._exits.start()
        self._stops.start()

    def stops(self, position: int) -> Sequence[int]:
        """The exits that have classifiers."""
        assert self._exits is not None
        return self._exits.depths

    def ask(self, engine: LayerEngine, depth: int) -> Verdict:
        """Stop comes first: a lost answer is not to be finished sooner."""
        assert self._exits is not None and self._stops is not None
        assert self._exit_at is not None and self._stop_at is not None
        state = engine.states_at(depth)[0]
        if self._stops.probability(depth, state) >= self._stop_at and self._stop_at < 1:
            return "stop"
        self.sure = self._exits.probability(depth, state)
        return "leave" if self.sure >= self._exit_at and self._exit_at < 1 else "climb"


@dataclass(frozen=True, slots=True)
class SecSettings:
    """`--set sec.NAME=VALUE`."""

    exit: float | None = setting(
        None, "how sure an exit must be; 1: nothing leaves; none: as it was learned",
        least=0, most=1,
    )  # fmt: skip
    stop: float | None = setting(
        None, "how lost an answer must seem; 1: nothing is stopped; none: as it was learned",
        least=0, most=1,
    )  # fmt: skip
    control: Literal["none", "fixed", "random"] = setting(
        "none", "for comparison: leave at `depth`, or at random depths around it, without a look"
    )
    depth: int = setting(0, "mean depth of a control; 0: half of the layers", least=0)


def parts(settings: SecSettings) -> tuple[str, ...]:
    """The part that the classifiers are in; a control looks at none."""
    return (KIND,) if settings.control == "none" else ()


def check(settings: SecSettings, info: ModelInfo) -> None:
    """Raise UsageError for a depth that the model does not have."""
    check_depth("sec.depth", settings.depth, info)


def build(engines: Engines, settings: SecSettings, aids: Aids) -> EarlyExit:
    """SEC on the large model. Raises UsageError for a depth that is not there."""
    engine = cast(LayerEngine, engines["large"])
    check(settings, engine.info)
    rule = control_rule(settings.control, settings.depth, engine)
    if rule is None:
        rule = StopOrExit(lambda: aids.part(KIND), settings.exit, settings.stop)
    return EarlyExit("sec", "arXiv 2401.09964", engine, rule)
