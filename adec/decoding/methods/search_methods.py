"""Looking ahead where a model is unsure, and comparing whole answers."""

from __future__ import annotations

from adec.decoding.method import ALONE, REWIND, TREE, Method
from adec.decoding.search.adadec import AdaDec, AdaDecSettings
from adec.decoding.search.iad import Iad, IadSettings

SEARCH_METHODS = (
    Method(
        "adadec",
        "pauses where the model is unsure, and looks ahead before it writes",
        AdaDecSettings,
        AdaDec,
        {"large": TREE},
        uses={"small": TREE},
        looks_ahead=True,
        width="candidates",
    ),
    Method(
        "iad",
        "rounds of whole answers, scored by a verifier; the best one is shown",
        IadSettings,
        Iad,
        ALONE,
        uses={"small": REWIND},
        whole_answers=True,
        looks_ahead=True,
        best_of_n=("rounds=1", "candidates=1000"),
    ),
)
