"""Drafting by the clock: which drafter, and how far, from measured times and counted acceptance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from adec.decoding.pair.clock.candidate import ASKING, LONGEST, CandidateDrafter
from adec.decoding.pair.clock.cost_curve import CostCurve
from adec.decoding.pair.clock.pause_wording import PauseWording
from adec.decoding.pair.clock.round_costs import SURE, RoundCosts
from adec.decoding.pair.clock.small_start import SmallStart
from adec.decoding.pair.clock.timed_growth import ObservedGrowth, TimedGrowth
from adec.decoding.pair.clock.trial_sizes import TrialSizes
from adec.decoding.pair.draft_chooser import DraftChooser, Turn
from adec.decoding.pair.drafters.ahead_drafter import AheadDrafter, without_rows
from adec.decoding.pair.drafters.drafter import Drafter, Outcome, Proposal, empty
from adec.decoding.pair.drafters.growth import Growth, Room
from adec.decoding.strategy import Limits
from adec.events.records import Step

PROBE_NODES = 3
"""How many nodes a probe drafts: enough to detect predictable text, cheap if it is not."""
OBSERVED = 4
"""Nodes that a drafter without a model names in any case, to learn how far to trust it."""
RESTING = 8
"""Rounds in a row in which nothing is considered while all drafters are paused."""
RESTING_ALONE = 64
"""The same where there are none but the one that looks ahead."""


class ClockChooser(DraftChooser):
    """Picks the drafter with the most expected tokens per millisecond, or none if plain is faster.

    A drafter without a model is asked what it has, which costs microseconds, and its tree is
    valued. The small model is valued by its acceptance so far, before it runs. One that looks ahead
    is valued by its plan; whoever drafts, it may ask for rows behind the nodes.
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
        ahead: AheadDrafter | None = None,
    ) -> None:
        """`longest`: nodes at most. `in_order`: the verifier's. `chain`: no branches. `ahead`: what
        drafts by rows that the verifying forward makes for it.

        `early`: the small model may draft before the prompt is read to its end.
        """
        self.candidates = [CandidateDrafter(drafter) for drafter in drafters]
        self.costs = costs
        self._in_order = in_order
        self._longest = longest
        self._chain = chain
        small = next((c for c in self.candidates if c.drafter.runs_a_model), None)
        self._small = (
            None if small is None else SmallStart(small, costs, longest=longest, early=early)
        )
        self._ahead = ahead
        self._looks = False  # whether this round is the one of `_ahead`
        self._used: CandidateDrafter | None = None
        self._trials: TrialSizes | None = None  # sizes that may be tried in this round
        self._wording = PauseWording()

    @property
    def plain_ms(self) -> float | None:
        return self.costs.times.plain_ms

    def timed_sizes(self, count: int) -> tuple[int, ...]:
        return self.costs.prompt_sizes(count)

    def read(self, step: Step) -> None:
        self.costs.record_prompt(step)

    def finish(self) -> None:
        self.costs.keep()
        self.costs.new_answer()

    def drafts_early(self, prompt: Sequence[int], limits: Limits) -> bool:
        if self._small is None:
            return False
        self._small.take(prompt, limits)
        return self._small.drafts_early(prompt, limits)

    def start(self, prompt: Sequence[int], limits: Limits) -> Iterator[Step]:
        self._used = None
        if self._ahead is not None:
            self._ahead.start(limits)
        for candidate in self.candidates:
            candidate.new_answer()
        if self._small is not None:
            self._small.take(prompt, limits)
            self._small.new_answer()
        for candidate in self.candidates:
            if candidate.started:
                yield from candidate.drafter.start(prompt, limits)

    def before_round(self, sequence: Sequence[int], left: int) -> Iterator[Step]:
        if self._small is not None:
            yield from self._small.before_round(sequence, left)

    def rest(self) -> int:
        if self.costs.own_ms <= ASKING * (self.plain_ms or 0.0):
            return 0
        # without a drafter there is nobody whom a text could convince
        rounds = RESTING if self.candidates else RESTING_ALONE
        if self._small is not None:
            rounds = self._small.rest(rounds)
        if self._ahead is not None:
            rounds = min(rounds, self._ahead.resting)
        self._begin_round()
        return rounds if self._all_wait() else 0

    def _begin_round(self) -> None:
        self._used = self._trials = None
        self._looks = False
        if self._ahead is not None:
            self._ahead.stop()
        self._resume_convinced()

    def _resume_convinced(self) -> None:
        for candidate in self.candidates:
            candidate.backoff.resume_if_convinced(candidate.drafter.streak)

    def _all_wait(self) -> bool:
        """Whether no drafter would be asked now."""
        waits = self._ahead is None or self._ahead.resting > 0
        return waits and all(c.backoff.state == "paused" or not c.started for c in self.candidates)

    def propose(self, turn: Turn) -> Proposal:
        self._begin_round()
        if self._all_wait():
            return empty()
        curve = self.costs.curve
        if curve is None or self.costs.plain_is_due or not turn.has_room:
            return empty()
        if self._chain:
            turn = turn.as_chain()
        self._trials = self.costs.trial_sizes()
        plain_ms = self.costs.plain_round_ms(curve, turn.unread)
        best, best_rate = None, 1 / plain_ms
        best_proposal = empty()
        for candidate in self.candidates:
            if candidate.backoff.state == "paused" or not candidate.started:
                continue
            began = turn.meter.ms
            bid = self._bid(candidate, turn)
            candidate.note_asking(turn.meter.ms - began)
            if bid is None:
                continue
            rate, proposal = bid
            if not candidate.drafter.runs_a_model:
                if rate * plain_ms < SURE:
                    continue
                if candidate.account.is_overdrawn(self.costs.answer_ms):
                    # an unknown size counts as it is hoped to: what a trial may lose is bounded
                    # elsewhere, here it is the acceptance that must prove itself
                    ms = self._curve(candidate).ms(turn.unread + len(proposal)) + candidate.own_ms
                    candidate.account.watch(proposal, ms - plain_ms)
                    continue
            if candidate.backoff.state == "probing":
                best, best_proposal = candidate, proposal
                break
            if rate > best_rate:
                best, best_rate, best_proposal = candidate, rate, proposal
        return self._chosen(turn, best, best_rate, best_proposal)

    def _chosen(
        self, turn: Turn, best: CandidateDrafter | None, best_rate: float, proposal: Proposal
    ) -> Proposal:
        """The proposal of the best candidate, or of the one that looks ahead if that is better."""
        ahead = self._ahead
        promised = None if ahead is None else ahead.bid(turn, self.costs)
        probing = best is not None and best.backoff.state == "probing"
        if ahead is not None and promised is not None and promised > best_rate and not probing:
            self._looks = True
            return ahead.propose(turn)
        if best is None:
            return empty()
        if best.drafter.runs_a_model:
            if self._trials is not None:
                turn = turn.with_nodes(self.costs.next_size - turn.unread)
            proposal = self._run(best, turn, self._growth(best, turn))
        else:
            self._used = best
        if ahead is not None and promised is not None and len(proposal):
            ahead.plant(proposal, best.reach_of(proposal), turn)
        return proposal

    def first_draft(self, turn: Turn) -> Proposal:
        self._used = None
        curve = self.costs.curve
        if self._small is None or curve is None or not turn.has_room:
            return empty()
        return self._run(self._small.small, turn, self._small.early_growth(turn, curve))

    def filled(self, size: int) -> int:
        # tokens behind a node that carries rows would make a branch of these
        planted = self._ahead is not None and self._ahead.planted
        return size if planted else self.costs.times.filled(size)

    def learn(self, outcome: Outcome) -> None:
        meter, plain_ms = outcome.meter, self.plain_ms
        if self._ahead is not None:
            self._ahead.learn(outcome)
        if self._used is not None:
            self._used.learn_judged(outcome, in_order=self._in_order)
        for candidate in self.candidates:
            drafter = candidate.drafter
            if candidate is not self._used:
                candidate.learn_untried(outcome)
            if candidate.account.is_watching and plain_ms is not None:
                candidate.account.follow(outcome.sequence[outcome.base :], plain_ms)
            candidate.offer = None
            if not candidate.started:
                continue
            if drafter.needs_every_round:
                drafter.learn(outcome)
            elif candidate.backoff.state != "paused":
                began = meter.ms
                drafter.learn(outcome)
                candidate.note_asking(meter.ms - began)

    def account(self, step: Step) -> None:
        for forward in step.forwards:
            if forward.purpose == "prompt":
                # what a draft adds to the reading of a prompt is neither a forward of its size nor
                # a round
                return
        costs, plain = self.costs, self._used is None and not self._looks
        steady = costs.record(step, plain=plain, explored=self._trials is not None and not plain)
        plain_ms = max(self.plain_ms or 0.0, 1e-6)
        if self._ahead is not None:
            curve = costs.times.curve
            known_ms = costs.plain_round_ms(curve, 1) if steady and curve is not None else None
            self._ahead.account(step, known_ms, own=self._looks)
            step = without_rows(step)
        for candidate in self.candidates:
            if candidate is self._used:
                candidate.forget_promises()
                if steady and (curve := costs.times.curve) is not None:
                    candidate.judge_round(step, costs.plain_round_ms(curve, 1))
            elif candidate.started:
                candidate.sit_out(plain_ms)
        self._explain()

    def account_rest(self, steps: Sequence[Step]) -> None:
        self.costs.record_rest(steps)
        plain_ms = max(self.plain_ms or 0.0, 1e-6)
        for candidate in self.candidates:
            if candidate.started:
                candidate.sit_out(plain_ms, len(steps))
        if self._ahead is not None:
            self._ahead.pass_rounds(len(steps))
        self._explain()

    def _explain(self) -> None:
        """Say what rests, or why the small model is not started."""
        self.reason = self._wording.update(self.candidates)
        if self.reason is None and self._small is not None:
            self.reason = self._small.take_refusal()

    def _curve(self, candidate: CandidateDrafter) -> CostCurve:
        """The curve that a candidate drafts by.

        Of unknown sizes it is hopeful. What a drafter without a model has is priced in the end,
        when it is known what it risks; a model's drafts have been paid for by then.
        """
        times = self.costs.times
        may_hope = not candidate.drafter.runs_a_model or self.costs.may_explore
        curve = times.hopeful if may_hope else times.curve
        assert curve is not None
        return curve

    def _bid(self, candidate: CandidateDrafter, turn: Turn) -> tuple[float, Proposal] | None:
        """Expected tokens per millisecond of a candidate, with its tree if that takes no model.

        None if it has nothing to offer now.
        """
        drafter, curve = candidate.drafter, self._curve(candidate)
        if drafter.runs_a_model:
            if candidate.rest and candidate.backoff.state == "drafting":
                candidate.rest -= 1
                return None
            behind = drafter.unread(turn.sequence)
            rate = candidate.forecast_rate(curve, behind=behind, unread=turn.unread, room=turn.room)
            return rate, empty()
        growth = self._timed_growth(candidate, turn)
        offer = drafter.propose(turn.sequence, ObservedGrowth(growth, OBSERVED), turn.meter)
        if not len(offer):
            return None
        candidate.offer = offer
        candidate.note_promise(
            growth.best_draft_rate * self.costs.plain_round_ms(curve, turn.unread)
        )
        best = growth.best()
        return (growth.rate(best), offer.first(best)) if best else None

    def _growth(self, candidate: CandidateDrafter, turn: Turn) -> Growth:
        """How far the small model may go: a few nodes as a probe, else as far as it pays."""
        if candidate.backoff.state == "probing":
            return Growth(PROBE_NODES, turn.room, candidate.rates)
        return self._timed_growth(candidate, turn)

    def _timed_growth(self, candidate: CandidateDrafter, turn: Turn) -> TimedGrowth:
        room = turn.room
        depth = min(room.depth, 2 + int(2 * candidate.reach))
        return TimedGrowth(
            self._curve(candidate),
            unread=turn.unread,
            own_ms=candidate.own_ms,
            room=Room(room.nodes, room.leaves, depth),
            rates=candidate.rates,
            most=self._longest,
            trials=self._trials,
        )

    def _run(self, candidate: CandidateDrafter, turn: Turn, growth: Growth) -> Proposal:
        """The small model's proposal."""
        proposal = candidate.drafter.propose(turn.sequence, growth, turn.meter)
        candidate.count_run(proposal)
        self._used = candidate if len(proposal) else None
        return proposal
