"""When a block of drafts is full, so that the large model wakes: decided by measured times."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from adec.decoding.pair.clock.acceptance_rate import Rates
from adec.decoding.pair.clock.backoff import Backoff
from adec.decoding.pair.clock.candidate import SHORT
from adec.decoding.pair.clock.cost_curve import CostCurve
from adec.decoding.pair.clock.kept_curve import KeptTimes
from adec.decoding.pair.clock.round_costs import RoundCosts
from adec.decoding.pair.clock.start_forecast import StartForecast
from adec.engines.base import Engine
from adec.events.records import Step

AHEAD = 32
"""Drafts beyond the last one that a decision looks at: two of the widest steps that CPU kernels
show."""
HOPED = 0.98
"""Chance that a draft stands, taken of those not yet written while nothing is known."""
EXPLORED = 16
"""Size of a forward that is tried to learn what it costs: the widest step that CPU kernels show."""
RECENT = 0.02
"""Weight of the newest draft in the mean chance that a draft stands: one doubt among fifty drafts
must not end all waiting."""


class Block:
    """One block of drafts, and whether it pays to wait for more of them.

    Expected tokens are the drafts that stand, and the large model's own after them. A token is
    worth what it takes in the best block that can be hoped for when this one begins: a block is
    begun where it beats plain decoding, and a doubt in it is weighed against the next block.
    """

    def __init__(
        self,
        curve: CostCurve,
        *,
        unread: int,
        draft_ms: float,
        steady: float,
        most: int,
        least: int = 0,
    ) -> None:
        """`unread`: tokens that the large model reads in any case. `draft_ms`: a forward of the
        small model. `steady`: the chance that a draft not yet written stands. `least`: once a block
        is begun it gets so many drafts, to learn what a forward of its size takes."""
        self.drafts = 0
        self._curve = curve
        self._unread = unread
        self._draft_ms = draft_ms
        self._steady = steady
        self._most = most
        self._least = least
        self._reach = 1.0
        self._expected = [1.0]  # tokens, by the number of drafts that are read
        self._token_ms = self._hoped_ms()

    def add(self, chance: float) -> None:
        """Count a draft that stands with this chance, if those before it do."""
        self._reach *= chance
        self._expected.append(self._expected[-1] + self._reach)
        self.drafts += 1

    def waits(self, chance: float | None = None) -> bool:
        """Whether to draft on; if not, the large model wakes.

        `chance`: that the next draft stands, whose row was read already; None before that.
        """
        if 0 < self.drafts < self._least:
            return True
        reach = self._reach * (self._steady if chance is None else chance)
        spent = self._draft_ms if chance is None else 0.0
        tokens, count = self._expected[-1], self.drafts
        wake_now = self._saved(tokens, count)
        for more in range(1, min(AHEAD, self._most - count) + 1):
            tokens += reach
            reach *= self._steady
            if self._saved(tokens, count + more) - spent > wake_now:
                return True
            spent += self._draft_ms
        return False

    def best(self) -> int:
        """How many of the drafts to read: a step climbed towards in vain leaves a useless tail."""
        fewest = min(self._least, self.drafts)
        return max(range(fewest, self.drafts + 1), key=lambda n: self._saved(self._expected[n], n))

    def _saved(self, tokens: float, drafts: int) -> float:
        """Milliseconds won by so many tokens, but for the forward that reads the drafts."""
        return tokens * self._token_ms - self._curve.ms(self._unread + drafts)

    def _hoped_ms(self) -> float:
        """See `hoped_ms`, with what this block has room for."""
        return hoped_ms(self._curve, draft_ms=self._draft_ms, steady=self._steady, most=self._most)


def hoped_ms(curve: CostCurve, *, draft_ms: float, steady: float, most: int) -> float:
    """Milliseconds a token of the best block of at most `most` drafts, or of plain decoding.

    All drafts stand with the chance `steady`. The large model reads one token besides them.
    """
    tokens, reach, best = 1.0, 1.0, curve.ms(1)
    for drafts in range(1, min(AHEAD, most) + 1):
        reach *= steady
        tokens += reach
        best = min(best, (drafts * draft_ms + curve.ms(1 + drafts)) / tokens)
    return best


class WakeClock:
    """What is known of the pair from answer to answer: forward times, acceptance, what pays."""

    def __init__(
        self,
        small: Engine,
        large: Engine,
        *,
        curve: CostCurve | None = None,
        small_curve: CostCurve | None = None,
    ) -> None:
        """`curve`, `small_curve`: forward times of both models, if they are known beforehand."""
        self.costs = RoundCosts(large, curve)
        self.backoff = Backoff()
        self.rates = Rates()
        self._small = KeptTimes(small, small_curve)
        self._sizes = small.info.bytes, large.info.bytes
        self._steady = self._lasting = HOPED
        self._explores = False
        self._forget_trusted()

    def new_answer(self) -> None:
        """Keep what was learnt, but let another kind of text outvote it at once."""
        self.costs.new_answer()
        self.backoff.new_answer()
        self.rates.soften()
        self._steady = max(self._steady, HOPED)
        self._forget_trusted()

    def keep(self) -> None:
        """Keep the forward times of both models for later runs."""
        self.costs.keep()
        self._small.keep()

    @property
    def drafts(self) -> bool:
        """Whether the small model may draft: forward times are known, and it is not paused."""
        return self.costs.curve is not None and self.backoff.state != "paused"

    def forecast(self, *, read: int, written: int, left: int) -> StartForecast | None:
        """What starting the small model promises: it reads `read` tokens, and `left` may follow.

        `written`: tokens of the answer so far. None while forward times are unknown.
        """
        self.costs.times.refresh()
        curve = self._known_curve
        if curve is None:
            return None
        draft_ms = self.draft_ms(curve)
        token_ms = hoped_ms(curve, draft_ms=draft_ms, steady=self._lasting, most=AHEAD)
        plain_ms = curve.ms(1)
        won_ms = (plain_ms - token_ms) * min(left, max(written, SHORT))
        speed, reading_ms = plain_ms / token_ms, self._small_ms(read, curve)
        return StartForecast("small", speed, won_ms, reading_ms, self.costs.times.noise)

    def block(self, unread: int, most: int) -> Block | None:
        """A new block; None while forward times are unknown, or where drafting does not pay."""
        curve, hopeful, self._explores = self.costs.curve, self.costs.times.hopeful, False
        if curve is None or hopeful is None or self.backoff.state == "paused" or most < 1:
            return None
        least, known = 0, EXPLORED in self.costs.times.points
        if self.costs.may_explore and not known and 1 <= EXPLORED - unread <= most:
            self._explores, curve = True, hopeful
            most = least = EXPLORED - unread
        probing = self.backoff.state == "probing"
        block = Block(
            curve,
            unread=unread,
            draft_ms=self.draft_ms(curve),
            steady=max(self._steady, HOPED) if probing else self._steady,
            most=most,
            least=least,
        )
        return block if block.waits() else None

    @property
    def _known_curve(self) -> CostCurve | None:
        """The large model's curve, the hopeful one where unknown sizes may be tried."""
        curve = self.costs.curve
        return self.costs.times.hopeful if curve and self.costs.may_explore else curve

    def draft_ms(self, curve: CostCurve) -> float:
        """A forward of the small model: by its file's size, until one was seen."""
        return self._small_ms(1, curve)

    def _small_ms(self, count: int, curve: CostCurve) -> float:
        if self._small.curve is not None:
            # what slows the large model down slows the small one, too
            slowness = 1.0 if self._small.is_fresh else self.costs.times.slowness
            return slowness * self._small.curve.ms(count)
        ours, theirs = self._sizes
        return curve.ms(count) * (ours / theirs if ours and theirs else 0.1)

    def chance(self, probability: float, *, trusted: bool = False) -> float:
        """The chance that a draft stands to which the small model gives this probability.

        A `trusted` one does.
        """
        chance = 1.0 if trusted else self.rates.accepted(probability, 0)
        self._steady += RECENT * (chance - self._steady)
        self._lasting += RECENT * (chance - self._lasting)
        return chance

    def judged(
        self, probabilities: Sequence[float], standing: int, trusted: Collection[int] = ()
    ) -> None:
        """The large model judged drafts of these probabilities; the first `standing` stand.

        Those behind the first that fell were not judged, nor the `trusted` ones.
        """
        for place, probability in enumerate(probabilities[: standing + 1]):
            if place not in trusted:
                self.rates.observe(probability, 0, 0, place < standing)

    def read(self, step: Step) -> None:
        """Learn from a part of the prompt that was read."""
        for forward in step.forwards:
            times = self._small if forward.model == "small" else self.costs.times
            times.record(forward.tokens, forward.ms)

    def account(self, step: Step) -> None:
        """Learn from what a step took.

        Drafts that stand unread are counted with the step in which the large model reads them.
        """
        explored = self._explores and step.drafted > 0
        self.costs.record(step, plain=step.kind == "write", explored=explored)
        caught_up_ms, tried = 0.0, False
        for forward in step.forwards:
            if forward.model == "small" and forward.purpose != "rewind":
                self._small.record(forward.tokens, forward.ms)
                tried = True
                if forward.tokens > 2:
                    # what was missed in a pause is read once, for many blocks
                    caught_up_ms += forward.ms
        curve = self.costs.curve
        if curve is None or not step.tokens:
            return
        tokens, ms = len(step.tokens), step.ms() + step.own_ms - caught_up_ms
        if step.kind == "draft":
            self._trusted_tokens += tokens
            self._trusted_ms += ms
            self._once_ms += caught_up_ms
            return
        if not tried and not self._trusted_tokens:
            self.backoff.sat_out()
            return
        tokens, ms = tokens + self._trusted_tokens, ms + self._trusted_ms
        plain_ms = self.costs.plain_round_ms(curve, 1)
        if self.backoff.record(tokens, ms, plain_ms, caught_up_ms + self._once_ms):
            self.rates.soften()
        self._forget_trusted()

    def _forget_trusted(self) -> None:
        self._trusted_tokens, self._trusted_ms, self._once_ms = 0, 0.0, 0.0
