"""When the small model joins an answer: beside the prompt, in its midst, or never.

It has to read all that was written before it can draft. So it reads only where its forecast wins
that back, and its first draft may delay the first token by no more than `LATER`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from adec.decoding.answer import unread_of_prompt
from adec.decoding.pair.clock.candidate import CandidateDrafter
from adec.decoding.pair.clock.cost_curve import CostCurve
from adec.decoding.pair.clock.round_costs import RoundCosts
from adec.decoding.pair.clock.start_forecast import StartDecision, StartForecast
from adec.decoding.pair.clock.timed_growth import TimedGrowth
from adec.decoding.pair.draft_chooser import Turn
from adec.decoding.strategy import Limits
from adec.events.records import Step

EARLY = (16, 8, 4, 2)
"""Nodes at most that are verified as the prompt is read: the first token waits for them."""
LATER = 0.05
"""How much later the first token may come for a first draft, as a share of reading the prompt."""


class SmallStart:
    """The start of one small model, answer by answer."""

    def __init__(
        self, small: CandidateDrafter, costs: RoundCosts, *, longest: int, early: bool
    ) -> None:
        """`longest`: nodes of a draft at most. `early`: whether it may draft beside the prompt."""
        self.small = small
        self._costs = costs
        self._longest = longest
        self._early = early
        self._early_nodes = 0  # at most, in a first draft beside the prompt
        self._decision = StartDecision()
        self._limits = Limits(1)
        self._prompt_size = self._written = 0

    def take(self, prompt: Sequence[int], limits: Limits) -> None:
        """Remember what the answer is to, and its limits."""
        self._prompt_size, self._limits = len(prompt), limits
        self._written = 0

    def new_answer(self) -> None:
        """Begin again; one that drafted beside the prompt has started."""
        self._decision.new_answer()
        self.small.started = self.small.started or self._early_nodes > 0

    def drafts_early(self, prompt: Sequence[int], limits: Limits) -> bool:
        """Whether it drafts as the prompt is read: that must pay, and be hardly noticed."""
        self._early_nodes = 0
        curve, drafter = self._costs.curve, self.small.drafter
        if not self._early or curve is None:
            return False
        drafter.assume(self._costs.large, curve, self._costs.times.slowness)
        read = unread_of_prompt(self._costs.large, prompt, limits)
        start_ms = drafter.draft_ms(drafter.unread_of_prompt(prompt, limits))
        for nodes in EARLY:
            more = start_ms + nodes * drafter.draft_ms() + curve.ms(read + nodes) - curve.ms(read)
            if more <= LATER * curve.ms(read):
                forecast = self._forecast(prompt, limits.max_tokens)
                if forecast is not None and forecast.pays:
                    self._early_nodes = nodes
                break
        return self._early_nodes > 0

    def early_growth(self, turn: Turn, curve: CostCurve) -> TimedGrowth:
        """How far the draft beside the prompt may go."""
        # what a token takes once the prompt is read
        rate = self.small.forecast_rate(curve, behind=1, unread=1, room=turn.room)
        return TimedGrowth(
            curve,
            unread=turn.unread,
            own_ms=0.0,
            room=turn.room,
            rates=self.small.rates,
            most=min(self._early_nodes, self._longest),
            worth_ms=min(1 / rate, self._costs.plain_round_ms(curve, 1)),
        )

    def before_round(self, sequence: Sequence[int], left: int) -> Iterator[Step]:
        """Start it now if a forecast is due and says so; `left` tokens may still be written."""
        self._written = len(sequence) - self._prompt_size
        if self.small.started or self._decision.waits(self._written):
            return
        forecast = self._forecast(sequence, left)
        if forecast is not None and self._decision.weigh(forecast, self._written):
            self.small.started = True
            yield from self.small.drafter.start(sequence, self._limits)

    def rest(self, rounds: int) -> int:
        """Rounds in which nothing need be considered, of so many."""
        if self.small.started or self._costs.curve is None:
            return rounds
        # it is thought of again every few tokens
        return min(rounds, self._decision.waits(self._written))

    def take_refusal(self) -> str | None:
        """Why it is not started, in words, once an answer; None if there is nothing new to say."""
        return self._decision.take_refusal()

    def _forecast(self, sequence: Sequence[int], left: int) -> StartForecast | None:
        """What starting promises; None while that cannot be said.

        It would read what it lacks of `sequence`, and `left` tokens may still be written.
        """
        costs = self._costs
        costs.times.refresh()
        curve = costs.curve
        if curve is None:
            return None
        if costs.may_explore:
            curve = costs.times.hopeful or curve
        return self.small.forecast_start(
            costs,
            curve,
            read=self.small.drafter.unread_of_prompt(sequence, self._limits),
            written=len(sequence) - self._prompt_size,
            left=left,
            longest=self._longest,
        )
