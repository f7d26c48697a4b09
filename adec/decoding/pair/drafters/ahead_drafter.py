"""A drafter that writes by rows of the forward before: it asks for them, and reads them afterwards.

Its drafts take no forward of their own. But a row that is asked for makes this round's forward
longer and pays in the next one, so what it offers is valued over the rounds to come, and it cannot
be watched without cost: `resting` is how it waits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from msgspec.structs import replace

from adec.decoding.pair.clock.round_costs import RoundCosts
from adec.decoding.pair.draft_chooser import Turn
from adec.decoding.pair.drafters.drafter import Outcome, Proposal
from adec.decoding.strategy import Limits
from adec.events.records import Step


class AheadDrafter(ABC):
    """What a chooser may ask of one. In each round `stop` or `bid` comes first."""

    name: str
    """The `source` of its tokens."""

    @property
    @abstractmethod
    def resting(self) -> int:
        """Rounds from now on in which it takes no part."""

    @property
    @abstractmethod
    def planted(self) -> int:
        """Tokens that the rows which it has asked for add to the next forward."""

    @abstractmethod
    def start(self, limits: Limits) -> None:
        """Begin a new answer."""

    @abstractmethod
    def stop(self) -> None:
        """Ask for nothing in the next forward."""

    @abstractmethod
    def bid(self, turn: Turn, costs: RoundCosts) -> float | None:
        """Tokens a millisecond that it promises from this round on; None: it has nothing now.

        What the rows of this round are worth later counts as tokens of this one.
        """

    @abstractmethod
    def propose(self, turn: Turn) -> Proposal:
        """The tree of its bid, which may be empty, and asks for rows behind its nodes."""

    @abstractmethod
    def plant(self, proposal: Proposal, reach: Sequence[float], turn: Turn) -> None:
        """Ask for rows behind what another one proposes, where they are worth their time.

        `reach`: by node, the chance that it is accepted. Comes after a `bid` of the same round.
        """

    @abstractmethod
    def learn(self, outcome: Outcome) -> None:
        """Take in a round, whoever proposed in it."""

    @abstractmethod
    def pass_rounds(self, rounds: int) -> None:
        """Count rounds in which it had no part."""

    @abstractmethod
    def account(self, step: Step, plain_ms: float | None, *, own: bool) -> None:
        """Take in what a round took; a plain one takes `plain_ms`, None: it says nothing.

        `own`: the round was one of its own. If not, the rows that it asked for are its cost.
        """


def without_rows(step: Step) -> Step:
    """A step without what the large model foresaw in it, which is for the rounds to come."""
    rows = [f for f in step.forwards if f.model == "large" and f.purpose == "draft"]
    if not rows:
        return step
    return replace(step, forwards=tuple(f for f in step.forwards if f not in rows))
