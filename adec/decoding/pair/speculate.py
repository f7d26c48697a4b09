"""The default: whatever drafts pay on this machine, by the clock, or else plain decoding.

No paper's method but the sum of several: SmartSpec's goodput (arXiv 2406.14066) over DySpec's node
values (arXiv 2410.11744); drafts from the small model where there is one, from suffix matches
(SuffixDecoding, arXiv 2411.04975) and from Token Recycling (arXiv 2408.08696); exllamav3's way of
giving up and probing. Verification follows the target.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from adec.decoding.pair.accept import FollowTarget
from adec.decoding.pair.clock.chooser import ClockChooser
from adec.decoding.pair.clock.round_costs import RoundCosts
from adec.decoding.pair.draft_verify import DraftVerify
from adec.decoding.pair.drafters.drafter import Drafter
from adec.decoding.pair.drafters.history import History
from adec.decoding.pair.drafters.ngram import NgramMatching
from adec.decoding.pair.drafters.small_model import SmallModel
from adec.decoding.pair.recycling import Recycling
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids, Limits, Prompt
from adec.engines.base import Engine
from adec.engines.pair import Engines
from adec.events.records import Step
from adec.places import kept_folder


@dataclass(frozen=True, slots=True)
class SpeculateSettings:
    """`--set speculate.NAME=VALUE`."""

    longest: int = setting(64, "nodes of a tree at most", least=1, most=256)
    small: bool = setting(True, "draft with the small model, where there is one")
    suffix: bool = setting(True, "draft what followed earlier in the text")
    recycling: bool = setting(True, "draft what the large model nearly said before")
    early: bool = setting(
        True, "let a first draft of the small model ride along as the large one reads the prompt"
    )
    keep_times: bool = setting(
        True, "keep the forward times that a run saw in the cache directory, for later runs"
    )
    history: bool = setting(
        False, "keep the token ids of answers on this disk, and draft from those of earlier runs"
    )


class Speculate(DraftVerify):
    """Draft and verify with all drafters, and answers kept for later runs if the user agrees."""

    def __init__(self, large: Engine, chooser: ClockChooser, history: History | None) -> None:
        super().__init__("speculate", None, large, chooser, FollowTarget())
        self._history = history

    def generate(self, prompt: Prompt, limits: Limits) -> Iterator[Step]:
        """See `Strategy.generate`."""
        answer: list[int] = []
        try:
            for step in super().generate(prompt, limits):
                answer += [token.id for token in step.tokens]
                yield step
        finally:
            if self._history is not None:
                self._history.add(answer)


def build(engines: Engines, settings: SpeculateSettings, aids: Aids) -> Speculate:
    """Speculation on one model or a pair."""
    large = engines["large"]
    history = None
    if settings.history:
        path = kept_folder("history") / f"{large.vocabulary.fingerprint[:16]}.tokens"
        history = History(path, large.info.vocabulary)
    drafters: list[Drafter] = []
    if settings.suffix:
        texts = () if history is None else history.texts()
        drafters.append(NgramMatching(least=2, remember=settings.history, texts=texts))
    if settings.small and "small" in engines:
        drafters.append(SmallModel(engines["small"], aids.curves.get("small")))
    if settings.recycling:
        drafters.append(Recycling())
    costs = RoundCosts(large, aids.curves.get("large"), keeps=settings.keep_times)
    chooser = ClockChooser(drafters, costs, longest=settings.longest, early=settings.early)
    return Speculate(large, chooser, history)
