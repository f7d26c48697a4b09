"""What a calibration may buy of a server: said before it starts, shared among its stages, kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from adec.answering.purchases import MILLION
from adec.calibration.replay.answers_to_fit import LEAST_ANSWERS
from adec.engines.remote.bill import Bill
from adec.errors import UsageError
from adec.profiles.schema import Prices

FIT_MOST = 40
"""Prompts to fit on: a request each, with the answer's rows."""
TRIED_PROMPTS = 15
"""Prompts that settings are tried on side by side, as far as is planned."""
HELD_OUT_MOST = 150
"""Prompts that the proof asks at most."""
POINTS = 8
"""Settings that are tried at most."""
AN_ANSWER = 3
"""Requests that an answer of a strategy takes, as far as is known before the first one."""
TESTED_ANSWERS = 2
"""Answers of strategies to a prompt of the proof, likewise."""


@dataclass(frozen=True)
class Wanted:
    """Requests by stage, and the tokens that they are expected to move."""

    answers: int
    tries: int
    proof: int
    read: int
    written: int

    @property
    def requests(self) -> int:
        return self.answers + self.tries + self.proof


def wanted(lengths: Sequence[int], fit: int, held_out: int, max_tokens: int, keep: float) -> Wanted:
    """What a calibration asks for. `lengths`: tokens of all prompts.

    Every answer is taken to be as long as it may be: shorter ones cost less.
    """
    answers = min(fit, FIT_MOST)
    tries = POINTS * AN_ANSWER * min(fit, TRIED_PROMPTS)
    whole, parts = answers + min(fit, TRIED_PROMPTS), tries
    proof = 0
    if keep < 1:
        asked = min(held_out, HELD_OUT_MOST)
        proof = asked * (1 + TESTED_ANSWERS * AN_ANSWER)
        whole, parts = whole + asked, parts + proof - asked
    prompt = fmean(lengths) if lengths else 0.0
    read = whole * prompt + parts * (prompt + max_tokens / 2)
    written = whole * max_tokens + parts * max_tokens / 8
    return Wanted(answers, tries, proof, round(read), round(written))


def money(prices: Prices | None, read: float, written: float) -> str:
    """What tokens cost, as a half sentence; empty where no prices are known."""
    if prices is None:
        return ""
    cost = (prices.read * read + prices.written * written) / MILLION
    return f", {cost:.2g} {prices.currency or 'in money'}"


def announcement(place: str, plan: Wanted, prices: Prices | None, budget: int | None) -> list[str]:
    """The lines that are said before the first request."""
    lines = [
        f"{place} will be asked at most some {plan.requests:,} times: {plan.answers:,} answers to "
        f"fit on, {plan.tries:,} requests to try settings, {plan.proof:,} for the proof; "
        f"about {plan.read:,} tokens read and {plan.written:,} written"
        f"{money(prices, plan.read, plan.written)}"
    ]
    if budget is not None:
        lines.append(f"never more than {budget:,} tokens, read and written (--budget-tokens)")
    return lines


def check_budget(budget: int | None, lengths: Sequence[int], max_tokens: int) -> None:
    """Raise UsageError where a budget does not even hold the answers that must be."""
    least = LEAST_ANSWERS * ((round(fmean(lengths)) if lengths else 0) + max_tokens)
    # each of them is asked for again beside the settings that are tried
    if budget is not None and budget < 2 * least:
        raise UsageError(
            f"--budget-tokens {budget:,} is too little: {LEAST_ANSWERS} answers may take"
            f" {least:,} tokens, and settings are tried on them, too",
            hint="give a larger one, or fewer tokens an answer with -n",
        )


Spent = tuple[int, int]
"""Requests, and tokens."""
Stages = list[tuple[Spent, Spent]]
"""Of each stage, in their order: what it has bought, and the most that one step of it bought."""


class Allowance:
    """Follows a bill, so that stages end before a limit and not at it."""

    def __init__(
        self, bill: Bill, requests: int, tokens: int | None, before: Stages | None = None
    ) -> None:
        """`requests` of the calibration, `tokens` of this run. `before`: what stages of it bought
        in runs that were interrupted."""
        self._bill = bill
        self._before = list(before or [])
        self._most = requests - sum(spent[0] for spent, _ in self._before), tokens
        self._stages: list[_Stage] = []

    @property
    def left(self) -> tuple[float, float]:
        """(requests, tokens) that may still be bought."""
        requests, tokens = self._most
        rest = float("inf") if tokens is None else tokens - self._bill.bought
        return requests - self._bill.requests, rest

    @property
    def stages(self) -> Stages:
        """For the journal: what the next run needs to know."""
        found = [(stage.spent, stage.dearest) for stage in self._stages]
        return found + self._before[len(found) :]

    def over(self, share: float) -> Callable[[], bool]:
        """Whether a stage that begins now has had its share of everything, or nearly."""
        number = len(self._stages)
        if self._stages:
            self._stages[-1].end()
        before = self._before[number] if number < len(self._before) else ((0, 0), (0, 0))
        stage = _Stage(self._bill, *before)
        self._stages.append(stage)
        all_requests = self._most[0] + sum(spent[0] for spent, _ in self._before)
        all_tokens = float("inf") if self._most[1] is None else self._most[1]

        def is_over() -> bool:
            stage.look()
            requests, tokens = stage.next
            # tokens of earlier runs are none of this one's budget
            tokens -= before[0][1]
            rest = self.left
            return (
                requests > share * all_requests
                or tokens > share * all_tokens
                or stage.dearest[0] > rest[0]
                or stage.dearest[1] > rest[1]
            )

        return is_over


class _Stage:
    """What one stage buys, step by step."""

    def __init__(self, bill: Bill, spent: Spent, dearest: Spent) -> None:
        self._bill, self._last, self._over = bill, (bill.requests, bill.bought), False
        self.spent, self.dearest = spent, dearest

    def look(self) -> None:
        """A step has ended."""
        if self._over:
            return
        now = self._bill.requests, self._bill.bought
        step = now[0] - self._last[0], now[1] - self._last[1]
        self._last = now
        self.spent = self.spent[0] + step[0], self.spent[1] + step[1]
        self.dearest = max(step[0], self.dearest[0]), max(step[1], self.dearest[1])

    def end(self) -> None:
        """Another stage has begun."""
        self.look()
        self._over = True

    @property
    def next(self) -> Spent:
        """What will have been bought after another step like the dearest."""
        return self.spent[0] + self.dearest[0], self.spent[1] + self.dearest[1]
