"""A model's own answers as texts that pseudo positions are learned from, and judged on."""

from __future__ import annotations

from adec.calibration.fit.fitting import Fitting
from adec.engines.torch.torch_fit.pseudo_fit import Text

JUDGED = 0.15
"""Share of the answers that nothing is learned from."""


def own_texts(fitting: Fitting, seconds: float) -> tuple[list[Text], list[Text]]:
    """Texts to learn from and texts to judge by, as many as the time allows.

    Raises UsageError where there are too few.
    """
    answers = fitting.answers(seconds)
    texts = [Text((*prompt, *answer), len(prompt)) for prompt, answer in answers]
    cut = max(1, round((1 - JUDGED) * len(texts)))
    return texts[:cut], texts[cut:] or texts[-1:]
