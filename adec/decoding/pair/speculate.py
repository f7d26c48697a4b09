"""The default: whatever drafts pay on this machine, by the clock, or else plain decoding.

No paper's method but the sum of several: SmartSpec's goodput (arXiv 2406.14066) over DySpec's node
values (arXiv 2410.11744); drafts from the small model where there is one (by text, arXiv
2502.05202, where it speaks another vocabulary), from suffix matches (SAM Decoding, arXiv
2411.10666), from Token Recycling (arXiv 2408.08696) and from what was fitted for the model: prompt
tokens, mapped states or pads that foresee in the verifying forward (`heads/fitted_drafters.py`);
exllamav3's way of giving up and probing. Verification follows the target.
"""

from __future__ import annotations

from dataclasses import dataclass

from adec.decoding.heads.fitted_drafters import fitted_drafters
from adec.decoding.pair.accept import FollowTarget
from adec.decoding.pair.clock.chooser import ClockChooser
from adec.decoding.pair.clock.round_costs import RoundCosts
from adec.decoding.pair.draft_verify import DraftVerify
from adec.decoding.pair.drafters.by_text import small_drafter
from adec.decoding.pair.drafters.drafter import Drafter
from adec.decoding.pair.model_free.recycling import Recycling
from adec.decoding.pair.model_free.suffix import Suffix
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids
from adec.engines.pair import Engines


@dataclass(frozen=True, slots=True)
class SpeculateSettings:
    """`--set speculate.NAME=VALUE`."""

    longest: int = setting(64, "nodes of a tree at most", least=1, most=256)
    small: bool = setting(True, "draft with the small model, where there is one")
    suffix: bool = setting(True, "draft what followed earlier in the text")
    recycling: bool = setting(True, "draft what the large model nearly said before")
    fitted: bool = setting(True, "draft with the parts that were fitted for the model")
    early: bool = setting(
        True, "let a first draft of the small model ride along as the large one reads the prompt"
    )
    keep_times: bool = setting(
        True, "keep the forward times that a run saw in the cache directory, for later runs"
    )


def build(engines: Engines, settings: SpeculateSettings, aids: Aids) -> DraftVerify:
    """Speculation on one model or a pair."""
    large = engines["large"]
    drafters: list[Drafter] = []
    if settings.suffix:
        drafters.append(Suffix(aids.earlier, least=2))
    if settings.small and "small" in engines:
        drafters.append(small_drafter(engines, aids))
    if settings.recycling:
        drafters.append(Recycling())
    ahead = None
    if settings.fitted:
        large, ahead = fitted_drafters(large, aids)
    costs = RoundCosts(large, aids.curves.get("large"), keeps=settings.keep_times)
    chooser = ClockChooser(
        drafters, costs, longest=settings.longest, early=settings.early, ahead=ahead
    )
    return DraftVerify("speculate", None, large, chooser, FollowTarget())
