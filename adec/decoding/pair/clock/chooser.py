"""Drafting by the clock: which drafter, and how far, from measured times and counted acceptance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from adec.decoding.meter import Meter
from adec.decoding.pair.clock.candidate import LONGEST, CandidateDrafter
from adec.decoding.pair.clock.cost_curve import CostCurve
from adec.decoding.pair.clock.round_costs import RoundCosts
from adec.decoding.pair.clock.timed_growth import ObservedGrowth, TimedGrowth
from adec.decoding.pair.draft_verify import DraftChooser
from adec.decoding.pair.drafters.drafter import Drafter, Outcome, Proposal, empty
from adec.decoding.pair.drafters.growth import Growth, Room
from adec.decoding.strategy import Limits
from adec.events.records import Step

PROBE_NODES = 3
"""Nodes of a probe: enough to tell a text that can be predicted, cheap where it cannot."""
OBSERVED = 4
"""Nodes that a drafter without a model names in any case, to learn how far to trust it."""
EARLY = 16
"""Nodes at most that are verified as the prompt is read: the first token waits for them."""
SHOWS = 0.02
"""Share of a plain round that the strategy's own work may take before idle drafters are paused."""


class ClockChooser(DraftChooser):
    """Picks the drafter with the most expected tokens per millisecond, or none if plain is faster.

    A drafter without a model is asked what it has, which costs microseconds, and its tree is
    valued. The small model is valued by its acceptance so far, before it runs.
    """

    def __init__(
        self,
        drafters: Sequence[Drafter],
        costs: RoundCosts,
        *,
        in_order: bool = False,
        longest: int = LONGEST,
        chain: bool = False,
        early: bool = False,
    ) -> None:
        """`longest`: nodes at most. `in_order`: the verifier's. `chain`: no branches.

        `early`: the small model may draft before the prompt is read to its end.
        """
        self.candidates = [CandidateDrafter(drafter) for drafter in drafters]
        self.costs = costs
        self._in_order = in_order
        self._longest = longest
        self._chain = chain
        self._small = next((c for c in self.candidates if c.drafter.runs_a_model), None)
        self.early = early and self._small is not None
        self._used: CandidateDrafter | None = None
        self._wording = _Wording()

    @property
    def plain_ms(self) -> float | None:
        return self.costs.times.plain_ms

    def prepare(self) -> Iterator[Step]:
        yield from self.costs.measure_at_first_use()

    def start(self, prompt: Sequence[int], limits: Limits) -> Iterator[Step]:
        self._used = None
        for candidate in self.candidates:
            candidate.new_answer()
            yield from candidate.drafter.start(prompt, limits)

    def propose(self, sequence: Sequence[int], room: Room, unread: int, meter: Meter) -> Proposal:
        self._used = None
        for candidate in self.candidates:
            candidate.backoff.resume_if_convinced(candidate.drafter.streak)
        if all(candidate.backoff.state == "paused" for candidate in self.candidates):
            return empty()
        curve = self.costs.curve
        if curve is None or self.costs.plain_is_due or min(room.nodes, room.depth) < 1:
            return empty()
        if self._chain:
            room = replace(room, leaves=1)
        best, best_rate = None, 1 / self.costs.plain_round_ms(curve, unread)
        found = empty()
        for candidate in self.candidates:
            state = candidate.backoff.state
            if state == "paused":
                continue
            if candidate.drafter.runs_a_model:
                if candidate.rest and state == "drafting":
                    candidate.rest -= 1
                    continue
                behind = candidate.drafter.unread(sequence)
                rate = candidate.forecast_rate(curve, behind=behind, unread=unread, room=room)
                proposal = empty()
            else:
                proposal, rate = self._offer(candidate, sequence, curve, unread, room, meter)
                if len(proposal) == 0:
                    continue
            if state == "probing" or rate > best_rate:
                best, best_rate, found = candidate, rate, proposal
            if state == "probing":
                break
        if best is None:
            return empty()
        if best.drafter.runs_a_model:
            growth = self._growth(best, curve, unread, room)
            return self._run(best, sequence, growth, meter)
        self._used = best
        return found

    def first_draft(
        self, sequence: Sequence[int], room: Room, unread: int, meter: Meter
    ) -> Proposal:
        self._used = None
        small, curve = self._small, self.costs.curve
        if small is None or curve is None or min(room.nodes, room.depth) < 1:
            return empty()
        room = replace(room, leaves=1)
        # what a token takes once the prompt is read
        rate = small.forecast_rate(curve, behind=1, unread=1, room=room)
        worth_ms = min(1 / rate, self.costs.plain_round_ms(curve, 1))
        growth = TimedGrowth(
            curve,
            unread=unread,
            own_ms=0.0,
            room=room,
            rates=small.rates,
            most=min(EARLY, self._longest),
            worth_ms=worth_ms,
        )
        return self._run(small, sequence, growth, meter)

    def filled(self, size: int) -> int:
        return self.costs.times.filled(size)

    def learn(self, outcome: Outcome) -> None:
        if self._used is not None:
            self._used.learn_judged(outcome, in_order=self._in_order)
        for candidate in self.candidates:
            if candidate is not self._used:
                candidate.learn_untried(outcome)
            candidate.offer = None
            if candidate.backoff.state != "paused" or candidate.drafter.needs_every_round:
                candidate.drafter.learn(outcome)

    def account(self, step: Step) -> None:
        if any(forward.purpose == "prompt" for forward in step.forwards):
            # what a draft adds to the reading of a prompt is neither a forward of its size nor a
            # round
            return
        self.costs.record(step, plain=self._used is None)
        asking_shows = self.costs.own_ms > SHOWS * (self.plain_ms or 0.0)
        for candidate in self.candidates:
            backoff = candidate.backoff
            if candidate is self._used:
                if (curve := self.costs.times.curve) is not None:
                    candidate.judge_round(step, self.costs.plain_round_ms(curve, 1))
                continue
            before = backoff.state
            backoff.sat_out()
            if asking_shows:
                backoff.pause_if_idle()
            if backoff.state == "probing" != before:
                # times of a slow moment must not shut it out for ever: nothing renews them
                # meanwhile
                candidate.drafter.forget_times()
        self.reason = self._wording.update(self.candidates)

    def _growth(
        self, candidate: CandidateDrafter, curve: CostCurve, unread: int, room: Room
    ) -> Growth:
        """How far a proposal may go: a few nodes as a probe, else as far as it pays."""
        if candidate.backoff.state == "probing":
            return Growth(PROBE_NODES, room, candidate.rates)
        return TimedGrowth(
            curve,
            unread=unread,
            own_ms=candidate.own_ms,
            room=replace(room, depth=min(room.depth, 2 + int(2 * candidate.reach))),
            rates=candidate.rates,
            most=self._longest,
        )

    def _offer(
        self,
        candidate: CandidateDrafter,
        sequence: Sequence[int],
        curve: CostCurve,
        unread: int,
        room: Room,
        meter: Meter,
    ) -> tuple[Proposal, float]:
        """The part of a model-free drafter's tree that pays, and its tokens per millisecond."""
        growth = self._growth(candidate, curve, unread, room)
        if not isinstance(growth, TimedGrowth):
            return candidate.drafter.propose(sequence, growth, meter), 0.0
        observed = ObservedGrowth(growth, OBSERVED)
        candidate.offer = candidate.drafter.propose(sequence, observed, meter)
        return candidate.offer.first(growth.best()), growth.best_rate

    def _run(
        self, candidate: CandidateDrafter, sequence: Sequence[int], growth: Growth, meter: Meter
    ) -> Proposal:
        """The small model's proposal."""
        proposal = candidate.drafter.propose(sequence, growth, meter)
        candidate.count_run(proposal)
        self._used = candidate if len(proposal) else None
        return proposal


class _Wording:
    """Says which drafters have just been paused or taken up again."""

    def __init__(self) -> None:
        self._states: list[str] = []
        self._paused: frozenset[str] = frozenset()
        self._reason: str | None = None

    def update(self, candidates: Sequence[CandidateDrafter]) -> str | None:
        """The change since the last call in words; None when there is none."""
        states: list[str] = [candidate.backoff.state for candidate in candidates]
        if states == self._states and self._reason is None:
            return None
        self._states, self._reason = states, None
        paused = frozenset(
            candidate.drafter.name
            for candidate in candidates
            if candidate.backoff.state == "paused"
        )
        for candidate in candidates:
            name, backoff = candidate.drafter.name, candidate.backoff
            if name in paused and name not in self._paused:
                self._reason = f"{name} drafts pause: {backoff.speed or 0:.2f} of plain speed"
            elif name in self._paused and backoff.state == "drafting":
                self._reason = f"{name} drafts again"
        # a probe does not yet end the pause
        self._paused = paused | frozenset(
            candidate.drafter.name
            for candidate in candidates
            if candidate.backoff.state == "probing" and candidate.drafter.name in self._paused
        )
        return self._reason
