"""Which exits of a model are worth drafting at, by forecast; the base of the exit rules.

What is known of an exit is how often its likeliest token was the whole model's, and what drafting
there and verifying took in this run. From both comes the rate of every exit and draft length:

    rate(l, g) = (1 + a + ... + a^g) / (time of verifying g drafts + g times that of one at l)

Before anything was drafted, the end of the prompt says what exits are worth: the states of its last
tokens are kept, and norm and head at an exit give what it would have said there. Whatever is not
known counts at its upper bound: an exit is no better than a deeper one that was asked. So the
deepest exit that could pay is asked first, and on a model whose layers were not trained for it that
answer rules out nearly all others. All asking is paid from a `SearchAccount`. What was learned
serves later answers, at half its weight after each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from time import perf_counter
from typing import TypeVar

import numpy as np

from adec.decoding.layers.drafting.exit_times import ExitTimes
from adec.decoding.layers.drafting.search_account import SearchAccount
from adec.decoding.layers.drafting.self_draft import Exit, ExitRule, Round
from adec.engines.protocols import LayerEngine, Vectors
from adec.events.records import Step
from adec.signals import Scores

CONTEXT = 8
"""Tokens of the prompt's end that exits are judged on (DEL as released: 32)."""
PAYS = 1.02
"""Times plain decoding from which a forecast is followed."""
FADED = 3
"""Positions under which what earlier answers told of an exit is forgotten."""
MATCH, MISS = 0, 1
Found = TypeVar("Found")


class PayingExits(ExitRule):
    """Draft at the exit of the best forecast; where none pays, write plainly."""

    context = CONTEXT

    def __init__(
        self, longest: int, decay: float = 0.95, depths: Iterable[int] | None = None
    ) -> None:
        """`longest`: tokens of a draft at most. `depths`: the exits; None: all of them."""
        self._longest = longest
        self._decay = decay
        self._wanted = None if depths is None else list(depths)
        self._layers = 0
        self._account = SearchAccount()
        self._exit = Exit(1, 0)

    def start(self, engine: LayerEngine) -> None:
        """Begin a new answer with what is known, which counts half."""
        self._engine = engine
        if not self._layers:
            self._layers = engine.info.layers
            self._depths = self._wanted or list(range(1, self._layers))
            self._times = ExitTimes(self._layers)
            self._counts = np.zeros((self._layers + 1, 2))
            self._sure = np.zeros((self._layers + 1, 2))
            self._head_ms: dict[int, float] = {}
        self._counts *= 0.5
        self._sure *= 0.5
        # what little is left is no evidence: the exit is asked anew
        faded = self._counts.sum(1) < FADED
        self._counts[faded] = self._sure[faded] = 0
        self._kept: list[Vectors] = []
        self._targets: list[int] = []

    def see_context(self, engine: LayerEngine, tokens: int) -> None:
        """Keep the states of the prompt's last tokens at every depth."""
        self._kept = [engine.states_at(d, rows=tokens) for d in range(self._layers + 1)]
        self._times.head_share = _head_share(engine, self._kept[0].shape[1])

    # ---- what is known

    def acceptance(self, depth: int) -> float:
        """How likely a draft at an exit stands: hopeful while little is known, 1 with nothing."""
        matches, misses = self._counts[depth]
        return float(min(1.0, (matches + 1.5) / (matches + misses + 2)) if matches + misses else 1)

    def bound(self, depth: int) -> float:
        """The most that an exit's acceptance may be, by itself and by deeper ones."""
        deeper = (d for d in self._depths if d >= depth and self._counts[d].sum() > 0)
        return min((self.acceptance(d) for d in deeper), default=1.0)

    def rate(self, depth: int, acceptance: float) -> tuple[float, int]:
        """Tokens a millisecond at an exit, at its best length, and that length."""
        best, at = 0.0, 1
        tokens = reach = 1.0
        for length in range(1, self._longest + 1):
            reach *= acceptance
            tokens += reach
            rate = tokens / self._times.round_ms(depth, length)
            if rate > best:
                best, at = rate, length
        return best, at

    @property
    def _balance_ms(self) -> float:
        return self._account.balance_ms(self._times.plain_ms)

    def _best(self, depths: Iterable[int], acceptance: Callable[[int], float]) -> tuple[int, int]:
        """The exit and the length of the best rate above plain decoding's; (0, 0) if none is."""
        best, found = PAYS * self._times.plain_rate(), (0, 0)
        for depth in depths:
            rate, length = self.rate(depth, acceptance(depth))
            if rate > best:
                best, found = rate, (depth, length)
        return found

    def _open(self) -> list[int]:
        """Exits that nothing was asked of and that could pay, rising."""
        unknown = [depth for depth in self._depths if self._counts[depth].sum() == 0]
        least = PAYS * self._times.plain_rate()
        return [depth for depth in unknown if self.rate(depth, self.bound(depth))[0] > least]

    # ---- a round

    def choose(self) -> Exit:
        """The best exit by what is known; a trial of one draft; or a plain round."""
        while True:
            known = [depth for depth in self._depths if self._counts[depth].sum() > 0]
            depth, length = self._best(known, self.acceptance)
            if length:
                self._exit = Exit(depth, length)
                return self._exit
            if not self._ask_context():
                break
        self._exit = Exit(self._layers, 0)
        if self._kept and self._open():
            return self._exit  # asking is cheaper than trying, and soon affordable
        depth, _ = self._best(self._depths, self.bound)
        if not self._times.knows_batches:
            depth = self._depths[len(self._depths) // 4]  # a first trial tells what they cost
        trial_ms = self._times.round_ms(depth, 1) if depth else 0.0
        if depth and self._account.affords(trial_ms, self._times.plain_ms):
            self._exit = Exit(depth, 1)
        return self._exit

    def learn(self, engine: LayerEngine, done: Round) -> None:
        """Count the exit that drafted, and further ones as far as the account goes.

        Positions behind the first rejected draft are not counted.
        """
        if not done.drafts:
            return
        positions = min(done.accepted + 1, len(done.drafts))
        wanted = [done.scores.argmax(row) for row in range(positions)]
        own = done.exit.depth
        rows = done.rows[:positions]
        self._count(
            own, [(row.argmax(0), row.probability(0, row.argmax(0))) for row in rows], wanted
        )
        fed = len(done.drafts) + 1
        # the likeliest to be of use come first
        others = [depth for depth in self._depths if depth != own]
        others.sort(key=lambda depth: -self.rate(depth, self.bound(depth))[0])
        for depth in others:
            if self._asking_ms(fed) > self._balance_ms:
                break
            self._look(depth, fed, partial(engine.scores_at, depth, rows=fed), wanted)

    def account(self, step: Step) -> None:
        """Learn the times, and what the round won or lost."""
        self._account.book_round(step, self._times)

    def account_prompt(self, step: Step) -> None:
        """What a part of the prompt took is what a batch of so many tokens takes."""
        self._account.book_prompt(step, self._times)

    # ---- asking heads

    def _ask_context(self) -> bool:
        """Ask the deepest exit that could pay what it makes of the prompt; False: there is none,
        or it is not affordable."""
        if not self._kept:
            return False
        count = len(self._kept[0])
        still = self._open()
        heads = 1 if self._targets else 2
        if not still or heads * self._asking_ms(count) > self._balance_ms:
            return False
        if not self._targets:
            whole, ms = self._timed(lambda: self._engine.scores_of(self._kept[self._layers]))
            self._paid(count, ms)
            self._targets = [whole.argmax(row) for row in range(count)]
        depth = still[-1]
        self._look(depth, count, lambda: self._engine.scores_of(self._kept[depth]), self._targets)
        return True

    def _look(self, depth: int, rows: int, ask: Callable[[], Scores], wanted: list[int]) -> None:
        """Ask the head for so many rows of an exit, and count what the first ones say."""

        def says() -> list[tuple[int, float]]:
            scores = ask()
            tokens = [scores.argmax(row) for row in range(len(wanted))]
            return [(token, scores.probability(row, token)) for row, token in enumerate(tokens)]

        said, ms = self._timed(says)
        self._paid(rows, ms)
        self._count(depth, said, wanted)

    def _count(self, depth: int, said: list[tuple[int, float]], wanted: list[int]) -> None:
        seen, sure = np.zeros(2), np.zeros(2)
        for (token, probability), target in zip(said, wanted, strict=True):
            outcome = MATCH if token == target else MISS
            seen[outcome] += 1
            sure[outcome] += probability
        self._counts[depth] = self._decay * self._counts[depth] + seen
        self._sure[depth] = self._decay * self._sure[depth] + sure

    def _timed(self, ask: Callable[[], Found]) -> tuple[Found, float]:
        began = perf_counter()
        found = ask()
        return found, 1000 * (perf_counter() - began)

    def _paid(self, rows: int, ms: float) -> None:
        self._head_ms[rows] = ms
        self._account.spend(ms)

    def _asking_ms(self, rows: int) -> float:
        """What the head takes for so many rows: as last time, or its share of all weights."""
        seen = [(abs(size - rows), ms) for size, ms in self._head_ms.items()]
        guess: float = self._times.head_share * self._times.finish_ms(0, rows)
        return min(seen)[1] if seen else guess


def _head_share(engine: LayerEngine, width: int) -> float:
    """The head's share of what a token's forward reads."""
    info = engine.info
    return min(0.9, info.vocabulary * width / max(1, info.parameters))
