"""Prompt lookup: draft what followed the last few tokens when they stood in the text before.

Saxena 2023, "Prompt Lookup Decoding"; also Yang et al. 2023, "Inference with Reference", arXiv
2304.04487. No second model. The search is that of `drafters/ngram.py`.

What is different here: the output is searched too, and of several places the latest counts, not the
first. `size=fixed` always drafts the full length, as published.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from adec.decoding.pair.draft_verify import DraftVerify
from adec.decoding.pair.drafters.ngram import GRAMS, NgramMatching
from adec.decoding.pair.wiring import one_drafter
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids
from adec.engines.pair import Engines

PUBLISHED = 10
"""Tokens of a draft in the published program."""
LONGEST_COPY = 63
"""With the newest token a forward of 64, where llama.cpp's blocks end."""


@dataclass(frozen=True, slots=True)
class LookupSettings:
    """`--set lookup.NAME=VALUE`."""

    least: int = setting(1, "tokens that must match", least=1, most=GRAMS)
    tokens: int = setting(
        0,
        f"tokens drafted at most; 0: {LONGEST_COPY} by time, the published {PUBLISHED} when fixed",
        least=0,
        most=256,
    )
    size: Literal["time", "fixed"] = setting(
        "time", "time: draft while tokens per millisecond rise. fixed: always that many"
    )


def build(engines: Engines, settings: LookupSettings, aids: Aids) -> DraftVerify:
    """Prompt lookup on the large model alone."""
    tokens = settings.tokens or (PUBLISHED if settings.size == "fixed" else LONGEST_COPY)
    drafter = NgramMatching(least=settings.least)
    return one_drafter(
        "lookup", None, engines, aids, drafter, tokens, size=settings.size, chain=True
    )
