"""SmartSpec: the length of the draft that promises the greatest goodput, none included.

Liu et al. 2024, "Optimizing Speculative Decoding for Serving Large Language Models Using Goodput", arXiv 2406.14066 (renamed
TurboSpec). Goodput is committed tokens per second: for each length k the expected tokens, from a running mean of acceptance, over k
draft forwards and one verification of k + 1 tokens.

What is different here: one request, so one length; times come from the measured curve instead of a line fitted to it.
Window, longest k and warm-up are not known from the paper: they are settings, with values of ours. While k is 0 a draft is tried
every sixteenth round, or acceptance would never be seen again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from adec.decoding.meter import Meter
from adec.decoding.pair.costs import CostCurve, Timings
from adec.decoding.pair.drafters.drafter import Outcome, Proposal, empty
from adec.decoding.pair.drafters.small_model import SmallModel
from adec.decoding.pair.growth import FixedGrowth, Room
from adec.decoding.pair.rates import Rates, expected_tokens
from adec.decoding.pair.speculation import Speculating
from adec.decoding.pair.throttle import WAIT
from adec.decoding.pair.timed import PLAIN_FIRST
from adec.decoding.pair.verifiers import FollowTarget
from adec.decoding.settings import setting
from adec.decoding.strategy import Aids, Limits
from adec.engines.pair import Engines
from adec.events.records import Step


@dataclass(frozen=True, slots=True)
class SmartSpecSettings:
    """`--set smartspec.NAME=VALUE`."""

    longest: int = setting(8, "longest draft considered", least=1, most=64)
    window: int = setting(10, "rounds in the running mean of acceptance", least=1, most=10_000)
    start: float = setting(0.7, "acceptance assumed at first", least=0, most=1)


class GoodputPlanner:
    """Chooses k anew each round."""

    def __init__(self, small: SmallModel, settings: SmartSpecSettings) -> None:
        self.alpha = settings.start
        self.timings = Timings()
        self.reason: str | None = None
        self._settings = settings
        self._small = small
        self._rates = Rates()
        self._idle = 0
        self.is_measured = False

    def measured(self, curve: CostCurve, small: CostCurve | None = None) -> None:
        """The curves became known: no round is spent on learning them."""
        self.timings = Timings(curve)
        self.is_measured = True
        if small is not None:
            self._small.timings = Timings(small)

    @property
    def plain_ms(self) -> float | None:
        return self.timings.plain_ms

    def start(self, prompt: Sequence[int], limits: Limits) -> Iterator[Step]:
        self._idle = 0
        yield from self._small.start(prompt, limits)

    def propose(self, sequence: Sequence[int], room: Room, unread: int, meter: Meter) -> Proposal:
        most = min(self._settings.longest, room.nodes, room.depth)
        length = self._length(most, unread)
        if length < 1:
            return empty()
        growth = FixedGrowth(length, replace(room, leaves=1), self._rates)
        return self._small.propose(sequence, growth, meter)

    def filled(self, size: int) -> int:
        return self.timings.filled(size)

    def learn(self, outcome: Outcome) -> None:
        drafted = len(outcome.proposal)
        self._idle = 0 if drafted else self._idle + 1
        if drafted:
            # a draft accepted whole says that acceptance is at least that: counting one more trial would be a guess
            judged = min(len(outcome.verdict.path) + 1, drafted)
            rate = len(outcome.verdict.path) / judged
            self.alpha += (rate - self.alpha) / self._settings.window
        self._small.learn(outcome)

    def account(self, step: Step) -> None:
        for forward in step.forwards:
            if forward.model == "large" and forward.purpose != "prompt":
                self.timings.record(forward.tokens, forward.ms)

    def goodput(self, k: int, unread: int, curve: CostCurve) -> float:
        """Committed tokens per millisecond to expect of k drafts."""
        tokens = expected_tokens([self.alpha] * k)[k]
        ms = k * self._small.draft_ms() + curve.ms(unread + k)
        return tokens / max(ms, 1e-6)

    def _length(self, most: int, unread: int) -> int:
        curve = self.timings.curve
        if curve is None or not (self.is_measured or self.timings.count(1) >= PLAIN_FIRST):
            return 0
        if self._small.timings.curve is None or self._idle >= WAIT:
            return min(3, most)
        return max(range(most + 1), key=lambda k: self.goodput(k, unread, curve))


def build(engines: Engines, settings: SmartSpecSettings, aids: Aids) -> Speculating:
    """SmartSpec on a pair."""
    planner = GoodputPlanner(SmallModel(engines["small"]), settings)
    return Speculating("smartspec", "arXiv 2406.14066", engines["large"], planner, FollowTarget())
