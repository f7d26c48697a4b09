"""A model's own answers as texts that pseudo positions are learned from, and judged on."""

from __future__ import annotations

from contextlib import suppress
from typing import cast

from adec.calibration.fit.begun import Begun
from adec.calibration.fit.fitting import Fitting
from adec.decoding.heads.pseudo_part import use_part
from adec.engines.protocols import PseudoStates
from adec.engines.torch.pseudo.pseudo_engine import TorchPseudoEngine
from adec.engines.torch.torch_fit.pseudo_fit import Text, memory_needed
from adec.errors import EngineError, ModelFileError
from adec.machine import memory

JUDGED = 0.15
"""Share of the answers that nothing is learned from."""


def own_texts(fitting: Fitting, seconds: float, count: int) -> tuple[list[Text], list[Text]]:
    """Texts to learn `count` pseudo positions from and texts to judge by, as many as time allows.

    Raises UsageError where there are too few, EngineError before the first one where learning needs
    more memory than is free.
    """
    engine = cast(TorchPseudoEngine, fitting.engine)
    needed, free = memory_needed(engine, count), memory()[1]
    if free is not None and needed > free:
        raise EngineError(
            f"learning from {engine.info.name} takes {needed / 2**30:.1f} GiB beside its weights,"
            f" and {free / 2**30:.1f} GiB are free",
            hint="a part that was learned on another machine serves this model here, too",
        )
    fitting.stage(f"answers (learning takes {needed / 2**30:.1f} GiB)")
    answers = fitting.answers(seconds)
    texts = [Text((*prompt, *answer), len(prompt)) for prompt, answer in answers]
    cut = max(1, round((1 - JUDGED) * len(texts)))
    return texts[:cut], texts[cut:] or texts[-1:]


def begun_states(begun: Begun, engine: TorchPseudoEngine, count: int) -> PseudoStates | None:
    """What an earlier fit of this model got to; None where there is none that fits it."""
    for part in begun.found(engine.info):
        with suppress(ModelFileError):
            states = use_part(engine, part)
            if states.count == count:
                return states
    return None
