"""SmartSpec: the draft length that promises the greatest goodput, zero included.

Liu et al. 2024, "Optimizing Speculative Decoding for Serving Large Language Models Using Goodput",
arXiv 2406.14066 (renamed TurboSpec). Goodput is committed tokens per second: for each draft length
k, the expected tokens, from a running mean of acceptance, over k draft forwards and one
verification of k + 1 tokens.

What is different here: one request, so one length; times come from the measured curve instead of a
line fitted to it. Window, longest k and warm-up are not known from the paper: they are settings,
with values of ours. While k is 0 a draft is tried every sixteenth round, or acceptance would never
be seen again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from adec.decoding.pair.accept import FollowTarget
from adec.decoding.pair.clock.acceptance_rate import Rates, expected_tokens
from adec.decoding.pair.clock.backoff import WAIT
from adec.decoding.pair.clock.cost_curve import CostCurve, LearnedCurve
from adec.decoding.pair.clock.kept_curve import kept_curve
from adec.decoding.pair.clock.round_costs import PLAIN_FIRST
from adec.decoding.pair.draft_chooser import DraftChooser, Turn
from adec.decoding.pair.draft_verify import DraftVerify
from adec.decoding.pair.drafters.by_text import small_drafter
from adec.decoding.pair.drafters.drafter import Outcome, Proposal, empty
from adec.decoding.pair.drafters.growth import Growth
from adec.decoding.pair.drafters.small_model import SmallModel
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids, Limits
from adec.engines.base import Engine
from adec.engines.pair import Engines
from adec.events.records import Step


class GoodputChooser(DraftChooser):
    """Chooses the draft length k anew each round."""

    def __init__(
        self,
        small: SmallModel,
        large: Engine,
        settings: SmartSpecSettings,
        curve: CostCurve | None = None,
    ) -> None:
        """`curve`: the large model's forward times, if they are known beforehand."""
        self.alpha = settings.start
        self.times = LearnedCurve(curve or kept_curve(large))
        self._small = small
        self._large = large
        self._settings = settings
        self._rates = Rates()
        self._idle = 0  # rounds since the last draft

    def goodput(self, k: int, unread: int, curve: CostCurve) -> float:
        """Committed tokens per millisecond to expect of k drafts."""
        tokens = expected_tokens([self.alpha] * k)[k]
        ms = k * self._small.draft_ms() + curve.ms(unread + k)
        return tokens / max(ms, 1e-6)

    def draft_length(self, most: int, unread: int) -> int:
        """The k of the greatest goodput, at most `most`."""
        curve = self.times.curve
        if curve is None or not (self.times.is_measured or self.times.count(1) >= PLAIN_FIRST):
            return 0
        if self._small.times.curve is None or self._idle >= WAIT:
            return min(3, most)
        return max(range(most + 1), key=lambda k: self.goodput(k, unread, curve))

    def learn(self, outcome: Outcome) -> None:
        drafted = len(outcome.proposal)
        self._idle = 0 if drafted else self._idle + 1
        if drafted:
            # a draft accepted whole says that acceptance is at least that: one more trial is a
            # guess
            judged = min(len(outcome.accepted.path) + 1, drafted)
            rate = len(outcome.accepted.path) / judged
            self.alpha += (rate - self.alpha) / self._settings.window
        self._small.learn(outcome)

    @property
    def plain_ms(self) -> float | None:
        return self.times.plain_ms

    def start(self, prompt: Sequence[int], limits: Limits) -> Iterator[Step]:
        self._idle = 0
        yield from self._small.start(prompt, limits)

    def propose(self, turn: Turn) -> Proposal:
        most = min(self._settings.longest, turn.room.nodes, turn.room.depth)
        length = self.draft_length(most, turn.unread)
        if length < 1:
            return empty()
        growth = Growth(length, turn.as_chain().room, self._rates)
        return self._small.propose(turn.sequence, growth, turn.meter)

    def filled(self, size: int) -> int:
        return self.times.filled(size)

    def account(self, step: Step) -> None:
        for forward in step.forwards:
            if forward.model == "large" and forward.purpose not in ("prompt", "rewind"):
                self.times.record(forward.tokens, forward.ms)


@dataclass(frozen=True, slots=True)
class SmartSpecSettings:
    """`--set smartspec.NAME=VALUE`."""

    longest: int = setting(8, "longest draft considered", least=1, most=64)
    window: int = setting(10, "rounds in the running mean of acceptance", least=1, most=10_000)
    start: float = setting(0.7, "acceptance assumed at first", least=0, most=1)


def build(engines: Engines, settings: SmartSpecSettings, aids: Aids) -> DraftVerify:
    """SmartSpec on a pair."""
    large = engines["large"]
    small = small_drafter(engines, aids)
    chooser = GoodputChooser(small, large, settings, aids.curves.get("large"))
    return DraftVerify("smartspec", "arXiv 2406.14066", large, chooser, FollowTarget())
