"""A drafter with all that is known of it: acceptance, whether it pays, how far to draft."""

from __future__ import annotations

from adec.decoding.pair.clock.acceptance_rate import GUESS, Rates, expected_tokens
from adec.decoding.pair.clock.account import Account
from adec.decoding.pair.clock.backoff import Backoff
from adec.decoding.pair.clock.cost_curve import CostCurve
from adec.decoding.pair.clock.round_costs import RoundCosts
from adec.decoding.pair.clock.start_forecast import StartForecast
from adec.decoding.pair.drafters.drafter import Drafter, Outcome, Proposal
from adec.decoding.pair.drafters.growth import Room
from adec.events.records import Step
from adec.tree import ROOT

FORECAST_DEPTH = 16
"""Depths that a forecast of a small model's worth looks at."""
FIRST_REACH = 6
"""Depth that a first draft is taken to reach. How sure the drafter is ends most drafts before."""
OWN_MS = 0.4
"""The strategy's own time in a round, until it is measured: rounds of three drafts took 0.3 to 0.7
ms on two cores. It matters where forwards take less than a millisecond."""
KEPT_TRIALS = 3.0
"""Trials that the acceptance counted in earlier answers weighs at most."""
LONGEST = 64
"""Nodes of a proposal at most; past that a round's own time shows."""
SHRINK = 1 / 3
"""After a draft that was not accepted whole, the reach falls to the accepted depth, but to no less
than this share of what it was. It grows at once (exllamav3: up fast, down slow)."""
TRUST = 0.8
"""Share of its own probability that a drafter without a model is believed, until acceptance was
counted: what it offers is seen to be right or wrong before any of it is tried."""
HOPELESS, OFFERS = 0.9, 4
"""A drafter is hopeless if none of at least OFFERS offers promised this speed (1 is plain's)."""
ASK_MS = 0.2
"""What asking a drafter takes, until it was measured."""
IN_VAIN, WON = 0.2, 1.0
"""Plain rounds by which asking a drafter may cost more than it wins before it is paused; and what
is remembered at most of what it won."""
ASKING = 0.003
"""Share of an answer's time that asking a drafter in vain may take, so that 0.2 plain rounds are
followed by a pause of 67. One that takes less than this of each round is never paused for it."""
UNREAD_GUESS = 0.75
"""Acceptance that a small model is taken to have before it has read anything: a first draft is
cheap to try, but reading a prompt may cost more than short answers win back. Pairs are published
with 0.5 to 0.9 (Leviathan et al. 2023, table 3)."""
SHORT = 32
"""Tokens over which the small model must win back what it takes to read the prompt. An answer that
is longer already is taken to go on for as long as it is: what is lost by starting too late is then
no more than what was to be won so far."""
LONGEST_REST = 16
"""Rounds at most for which a small model that had nothing to propose is not run again."""


class CandidateDrafter:
    """One drafter among those that the clock chooses from."""

    def __init__(self, drafter: Drafter) -> None:
        self.drafter = drafter
        self.rates = Rates(1.0 if drafter.runs_a_model else TRUST)
        self.backoff = Backoff(free=not drafter.runs_a_model)
        self.account = Account()
        self.own_ms = OWN_MS
        """Running mean of the strategy's own time in this drafter's rounds."""
        self.reach: float = FIRST_REACH
        """Running limit on the draft's depth: a draft may be 2 * reach + 2 deep. Acceptance counts
        react too slowly when a text stops being predictable; this limit reacts at once."""
        self.offer: Proposal | None = None
        """What a drafter without a model has for this round, and a little more, to learn from."""
        self.ask_ms = ASK_MS
        """Running mean of what asking it takes, and teaching it where a pause would save that."""
        self._asked_ms = 0.0  # the same in this round
        self._balance_ms = 0.0  # what it won lately, less what asking it took
        self._promises: list[float] = []
        self.started = not drafter.runs_a_model
        """Whether it has read the prompt."""
        self.rest = 0
        """Rounds for which a small model is not run, since the last runs in a row gave nothing."""
        self._in_vain = 0

    def new_answer(self) -> None:
        """Keep what was learnt, but let another kind of text outvote it at once."""
        self.rates.soften(KEPT_TRIALS)
        self.backoff.new_answer()
        self.reach = max(self.reach, FIRST_REACH)
        self.rest = self._in_vain = 0
        self._asked_ms = self._balance_ms = 0.0
        self.forget_promises()
        self.account.new_answer()
        self.started = not self.drafter.runs_a_model

    def note_asking(self, ms: float) -> None:
        """It took `ms` to ask it for a proposal, or to teach it what a pause would leave out."""
        self._asked_ms += ms

    def sit_out(self, plain_ms: float, rounds: int = 1) -> None:
        """Take in rounds in which this drafter was not used; a plain one takes `plain_ms`."""
        backoff = self.backoff
        before = backoff.state
        backoff.sat_out(rounds)
        if backoff.state == "paused":
            self.forget_promises()
            return
        if backoff.state == "probing" != before:
            # times of a slow moment must not shut it out for ever: nothing renews them meanwhile
            self.drafter.forget_times()
        if self._asked_ms:
            # an interruption is no cost of asking
            asked_ms = min(self._asked_ms, 2 * self.ask_ms)
            self.ask_ms += 0.2 * (asked_ms - self.ask_ms)
            self._balance_ms -= asked_ms
            self._asked_ms = 0.0
            self._pause_if_in_vain(plain_ms)

    def _pause_if_in_vain(self, plain_ms: float) -> None:
        hopeless, lost_ms = self.is_hopeless, -self._balance_ms
        if self.ask_ms <= ASKING * plain_ms:
            return
        if hopeless or lost_ms > IN_VAIN * plain_ms:
            wait = round(max(0.0, lost_ms) / (ASKING * plain_ms))
            self.backoff.pause_unused(wait, longer=hopeless)
            self._balance_ms = 0.0
            self.forget_promises()

    def note_promise(self, speed: float) -> None:
        """Its offer of this round promised `speed`, as a multiple of plain's."""
        self._promises.append(speed)

    def forget_promises(self) -> None:
        """Forget earlier offers."""
        self._promises.clear()

    @property
    def is_hopeless(self) -> bool:
        """Whether none of several offers came near to paying."""
        return len(self._promises) >= OFFERS and max(self._promises) < HOPELESS

    def count_run(self, proposal: Proposal) -> None:
        """Take in a run of the small model: the more in a row gave nothing, the longer it rests."""
        self._in_vain = 0 if len(proposal) else self._in_vain + 1
        self.rest = min(LONGEST_REST, 2 ** (self._in_vain - 2)) if self._in_vain > 1 else 0

    def reach_of(self, proposal: Proposal) -> list[float]:
        """By node, the chance that it is accepted."""
        tree, reach = proposal.tree, list[float]()
        ranks: dict[int, int] = {}
        for parent, depth, chance in zip(
            tree.parents, tree.depths(), proposal.chances, strict=True
        ):
            rank = ranks.get(parent, 0)
            ranks[parent] = rank + 1
            above = 1.0 if parent == ROOT else reach[parent]
            reach.append(above * self.rates.accepted(chance, depth, rank))
        return reach

    def learn_judged(self, outcome: Outcome, *, in_order: bool) -> None:
        """Learn from the verdict on a proposal of this drafter."""
        proposal, path = outcome.proposal, outcome.accepted.path
        self.rates.observe_judged(proposal.tree, proposal.chances, path, in_order=in_order)
        self.update_reach(len(path), 1 + max(proposal.tree.depths()))

    def learn_untried(self, outcome: Outcome) -> None:
        """Learn what an offer would have been worth in a round that another drafter had."""
        # where only long drafts pay, a limit that only drafts can raise would never rise again
        self.reach = max(self.reach, min(LONGEST, self.drafter.streak))
        if self.offer is not None:
            committed = outcome.sequence[outcome.base :]
            self.rates.observe_untried(self.offer.tree, self.offer.chances, committed)

    def update_reach(self, accepted: int, deepest: int) -> None:
        """A draft `deepest` nodes deep was accepted down to depth `accepted`."""
        if accepted == deepest:
            # the end of the draft censors how far it would have gone, and cost alone may have set
            # it
            self.reach = min(LONGEST, max(accepted + 1, 2 * self.reach))
        else:
            self.reach = max(accepted, SHRINK * self.reach)

    def judge_round(self, step: Step, plain_ms: float) -> None:
        """Learn whether a round of this drafter paid; `plain_ms`: what a plain round takes."""
        self.own_ms += 0.2 * (step.own_ms - self.own_ms)
        # a small model's catching up after a pause is paid once, for many rounds
        once = sum(
            max(0.0, forward.ms - self.drafter.draft_ms())
            for forward in step.forwards
            if forward.model == "small" and forward.purpose == "catch_up"
        )
        ms = step.ms() + step.own_ms - once
        won_ms = len(step.tokens) * plain_ms - ms
        self.account.book(won_ms, plain_ms)
        self._asked_ms = 0.0
        self._balance_ms = min(WON * plain_ms, self._balance_ms + max(0.0, won_ms))
        if self.backoff.record(len(step.tokens), ms, plain_ms, once):
            self.rates.soften()

    def forecast_rate(
        self, curve: CostCurve, *, behind: int, unread: int, room: Room, guess: float = GUESS
    ) -> float:
        """Tokens per millisecond of the best chain that the small model can be expected to write.

        `curve` is the large model's. `behind`: tokens that the small model must read first;
        `unread`: tokens that the large one reads in any case. `guess`: acceptance of a first draft
        while none was judged.
        """
        draft_ms = self.drafter.draft_ms
        most = min(FORECAST_DEPTH, room.nodes, room.depth)
        tokens = expected_tokens([self.rates.at_depth(depth, guess) for depth in range(most)])
        spent = self.own_ms + draft_ms(behind) - draft_ms()
        return max(
            tokens[k] / max(spent + k * draft_ms() + curve.ms(unread + k), 1e-6)
            for k in range(1, len(tokens))
        )

    def forecast_start(
        self,
        costs: RoundCosts,
        curve: CostCurve,
        *,
        read: int,
        written: int,
        left: int,
        longest: int,
    ) -> StartForecast:
        """What starting the small model promises: it reads `read` tokens, and `left` may follow.

        `written`: tokens of the answer so far. `longest`: nodes that a draft may have. The
        yardstick is what the answer takes now: plain decoding, or the other drafters where they
        are faster.
        """
        drafter = self.drafter
        drafter.assume(costs.large, curve, costs.times.slowness)
        room = Room(nodes=longest, leaves=1, depth=longest)
        plain_ms = costs.plain_round_ms(curve, 1)
        pace_ms = min(plain_ms, costs.pace_ms)
        speed = pace_ms * self.forecast_rate(
            curve, behind=1, unread=1, room=room, guess=UNREAD_GUESS
        )
        won_ms = (1 - 1 / speed) * pace_ms * min(left, max(written, SHORT))
        reading_ms, noise = drafter.draft_ms(read), costs.times.noise
        return StartForecast(drafter.name, speed, won_ms, reading_ms, noise)
