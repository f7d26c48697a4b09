"""Speculation that chooses for itself: drafter, shape and size, each round, by measured time; plain where nothing pays.

No paper's method but the sum of several: SmartSpec's goodput (arXiv 2406.14066) over DySpec's node values (arXiv 2410.11744),
drafts from the small model where there is one, from suffix matches (SuffixDecoding, arXiv 2411.04975) and from
Token Recycling (arXiv 2408.08696), and exllamav3's way of giving up and probing. Verification follows the target.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from adec.decoding.pair.costs import CostCurve
from adec.decoding.pair.drafters.drafter import Drafter
from adec.decoding.pair.drafters.recycling import Recycling
from adec.decoding.pair.drafters.small_model import SmallModel
from adec.decoding.pair.drafters.suffix import SuffixMatching
from adec.decoding.pair.history import History
from adec.decoding.pair.measuring import at_first_use
from adec.decoding.pair.speculation import Speculation
from adec.decoding.pair.timed import TimedPlanner
from adec.decoding.pair.verifiers import FollowTarget
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids, Limits
from adec.engines.base import Engine
from adec.engines.pair import Engines, differences
from adec.events.records import Guarantee, Step
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
    measure: bool = setting(
        True, "measure forward times at first use (a few seconds, kept in the cache directory)"
    )
    history: bool = setting(
        False, "keep the token ids of answers on this disk, and draft from those of earlier runs"
    )


class Speculate:
    """The large model, whatever can draft for it, and the clock."""

    name = "speculate"
    paper = None
    guarantee = Guarantee.EXACT

    def __init__(self, large: Engine, small: Engine | None, settings: SpeculateSettings) -> None:
        self._large = large
        self._settings = settings
        self._history: History | None = None
        if settings.history:
            path = kept_folder("history") / f"{large.vocabulary.fingerprint[:16]}.tokens"
            self._history = History(path, large.info.vocabulary)
        self._remark: str | None = None
        if small is not None and differences(small.vocabulary, large.vocabulary):
            small = None
            self._remark = "no shared vocabulary: drafts without the small model"
        drafters: list[Drafter] = []
        if settings.suffix:
            texts = self._history.texts() if self._history is not None else ()
            remember = settings.history
            drafters.append(SuffixMatching(least=2, remember=remember, texts=texts))
        if settings.small and small is not None:
            drafters.append(SmallModel(small))
        if settings.recycling:
            drafters.append(Recycling())
        self.planner = TimedPlanner(drafters, longest=settings.longest, early=settings.early)

    @property
    def is_measured(self) -> bool:
        """See `Clocked`."""
        return self.planner.is_measured

    def measured(self, curve: CostCurve, small: CostCurve | None = None) -> None:
        """See `Clocked`."""
        self.planner.measured(curve, small)

    def generate(self, prompt: list[int], limits: Limits) -> Iterator[Step]:
        """See `Strategy.generate`."""
        if self._settings.measure:
            yield from at_first_use(self.planner, self._large)
        if self._remark is not None:
            yield Step("prompt", reason=self._remark)
        answer: list[int] = []
        try:
            for step in Speculation(
                self._large, self.planner, FollowTarget(), prompt, limits
            ).run():
                answer += [token.id for token in step.tokens]
                yield step
        finally:
            if self._history is not None:
                self._history.add(answer)


def build(engines: Engines, settings: SpeculateSettings, aids: Aids) -> Speculate:
    """Speculation on one model or a pair."""
    return Speculate(engines["large"], engines.get("small"), settings)
