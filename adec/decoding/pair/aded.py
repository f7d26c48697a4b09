"""ADED: drafts from an adaptive tri-gram table by Monte-Carlo tree search, no second model.

Liu et al. 2024, "Adaptive Draft-Verification for Efficient Large Language Model Decoding", arXiv 2407.12021 (AAAI 2025).

What is different here: the table starts from the prompt, not from a corpus of a gigabyte. Verification follows the target, which is
exact when sampling too; the release's is not. Rollouts are valued as the paper says (the released code has the wrong half of the
state), by shares of a row. Where the table has nothing the step is plain; the release drafts token 100. Nodes past
the budget go by their chance, not by whose path has the most distinct tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from adec.decoding.pair.drafters.trigram import TriGramSearch
from adec.decoding.pair.free import free_drafting
from adec.decoding.pair.speculation import Speculating
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids
from adec.engines.pair import Engines


@dataclass(frozen=True, slots=True)
class AdedSettings:
    """`--set aded.NAME=VALUE`."""

    iterations: int = setting(150, "rollouts of a search (release: 150)", least=1, most=100_000)
    budget: int = setting(64, "nodes of a tree at most (release: 64)", least=1, most=256)
    size: Literal["time", "fixed"] = setting(
        "time", "time: grow while tokens per millisecond rise. fixed: always the budget (release)"
    )


def build(engines: Engines, settings: AdedSettings, aids: Aids) -> Speculating:
    """ADED on the large model alone."""
    drafter = TriGramSearch(settings.iterations)
    return free_drafting(
        "aded", "arXiv 2407.12021", engines, drafter, settings.budget, settings.size
    )
