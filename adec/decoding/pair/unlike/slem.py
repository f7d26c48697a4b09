"""SLEM: a draft model of any family, which drafts by text.

Timor et al. 2025, "Accelerating LLM Inference with Lossless Speculative Decoding Algorithms for
Heterogeneous Vocabularies", arXiv 2502.05202, algorithm 2 (String-Level Exact Match). The draft is
text; it is tokenised for the target, which verifies its own tokens.

What is different here: the target follows its own law at any temperature, as the paper's exact
match does, but by the draws of the seed. The last token of a draft waits where more text could
change it. The small model keeps its ids of the text, and only the last word is tokenised again.
How far to draft, and whether at all, is decided by the clock; `size=fixed` always drafts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from adec.decoding.pair.draft_verify import DraftVerify
from adec.decoding.pair.drafters.by_text import SmallModelByText
from adec.decoding.pair.wiring import one_drafter
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids
from adec.engines.pair import Engines
from adec.engines.vocabularies.retokenise import Retokeniser


@dataclass(frozen=True, slots=True)
class SlemSettings:
    """`--set slem.NAME=VALUE`."""

    longest: int = setting(16, "the small model's tokens in a draft at most", least=1, most=256)
    size: Literal["time", "fixed"] = setting(
        "time", "time: draft while tokens per millisecond rise. fixed: always the longest"
    )


def build(engines: Engines, settings: SlemSettings, aids: Aids) -> DraftVerify:
    """SLEM on a pair."""
    small = engines["small"]
    drafter = SmallModelByText(
        small, Retokeniser(small, engines["large"]), aids.curves.get("small")
    )
    name, paper = "slem", "arXiv 2502.05202"
    return one_drafter(
        name, paper, engines, aids, drafter, settings.longest, size=settings.size, chain=True
    )
