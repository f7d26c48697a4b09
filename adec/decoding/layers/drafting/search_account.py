"""What looking for drafts that pay may cost, so that less than a hundredth is lost where none does.

Trials of exits and of layer sets, and heads that are asked for the sake of learning, are paid from
one account of milliseconds:

    balance = FIRST_CREDIT plain tokens + SHARE of the time so far - what was spent
              + SHARE_OF_GAIN of what rounds of drafts won on the whole, or - what they lost

From the hundredth token on that is at most a hundredth, and sooner behind a prompt, whose time
counts too.

A trial must be covered by what it may lose: the time of its round less that of a plain token, since
every round writes one. A round of one draft, from half of the layers, loses 0.5 to 0.7 plain tokens
where a batch of two costs hardly more than one token. So it is tried within the first 40 tokens,
wherever drafts can pay at all. Compared with the whole time of that round, which is 1.5 to 2.5
plain tokens, even a credit of 2 would let it happen late or never. A credit of 3 would admit it,
and with it trials that lose 3 % of an answer of 100 tokens.
"""

from __future__ import annotations

from adec.decoding.layers.drafting.exit_times import ExitTimes
from adec.events.records import Step

FIRST_CREDIT = 0.5
"""Plain tokens whose time may be spent before anything was won."""
SHARE, SHARE_OF_GAIN = 0.005, 0.1
"""Of the time so far, and of the time that drafts won."""


class SearchAccount:
    """Milliseconds spent and won by one model's drafts, in all answers of a session."""

    def __init__(self) -> None:
        self.elapsed_ms = self.net_ms = self.spent_ms = 0.0

    def balance_ms(self, plain_ms: float) -> float:
        """What may be spent or lost now; `plain_ms` is the time of a plain token."""
        credit = FIRST_CREDIT * plain_ms + SHARE * self.elapsed_ms
        net = self.net_ms * (SHARE_OF_GAIN if self.net_ms > 0 else 1)
        return credit + net - self.spent_ms

    def affords(self, round_ms: float, plain_ms: float) -> bool:
        """Whether a round of drafts may be tried that takes so long, and may write one token."""
        return round_ms - plain_ms < self.balance_ms(plain_ms)

    def wait(self, ms: float) -> None:
        """Time passed that nothing was tried in."""
        self.elapsed_ms += ms

    def spend(self, ms: float) -> None:
        """Time went into learning."""
        self.elapsed_ms += ms
        self.spent_ms += ms

    def book(self, tokens: int, ms: float, plain_ms: float) -> None:
        """A round of drafts wrote so many tokens in so much time."""
        self.elapsed_ms += ms
        self.net_ms += tokens * plain_ms - ms

    def book_round(self, step: Step, times: ExitTimes) -> None:
        """A round was run: `times` learns what it took, and what it won or lost is booked."""
        times.add(step)
        ms = sum(forward.ms for forward in step.forwards)
        if step.drafted:
            self.book(len(step.tokens), ms, times.plain_ms)
        else:
            self.wait(ms)

    def book_prompt(self, step: Step, times: ExitTimes) -> None:
        """A part of the prompt was read, which takes what a batch of so many tokens takes."""
        for forward in step.forwards:
            self.wait(forward.ms)
            if forward.tokens > 1:
                times.add_reading(forward.tokens, forward.ms)
