"""Who drafts in a round of `draft_verify.py`, and how far: what such a chooser is asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from adec.decoding.meter import Meter
from adec.decoding.pair.drafters.drafter import Outcome, Proposal, empty
from adec.decoding.pair.drafters.growth import Room
from adec.decoding.strategy import Limits
from adec.events.records import Step


@dataclass(slots=True)
class Turn:
    """What a proposal is made for."""

    sequence: Sequence[int]
    """All that is committed."""
    room: Room
    unread: int
    """Tokens that the large model reads in any case."""
    meter: Meter

    @property
    def has_room(self) -> bool:
        """Whether a draft fits at all."""
        return min(self.room.nodes, self.room.depth) >= 1

    def as_chain(self) -> Turn:
        """The same without branches."""
        room = Room(self.room.nodes, 1, self.room.depth)
        return Turn(self.sequence, room, self.unread, self.meter)

    def with_nodes(self, most: int) -> Turn:
        """The same with a smaller bound on nodes."""
        room = Room(min(most, self.room.nodes), self.room.leaves, self.room.depth)
        return Turn(self.sequence, room, self.unread, self.meter)


class DraftChooser:
    """Who drafts in a round, and how far. By itself it never drafts anything."""

    reason: str | None = None
    """Why the chooser paused or resumed a drafter; None if nothing changed."""

    @property
    def plain_ms(self) -> float | None:
        """What a one-token forward of the large model takes now, as far as known."""
        return None

    def drafts_early(self, prompt: Sequence[int], limits: Limits) -> bool:
        """Whether a first draft rides along with the forward that reads the end of the prompt."""
        return False

    def rest(self) -> int:
        """Rounds from now on in which nothing will be proposed, whatever is written.

        What they write is learnt at once, at their end.
        """
        return 0

    def start(self, prompt: Sequence[int], limits: Limits) -> Iterator[Step]:
        """Begin a new answer: once its first token is written, or before if it `drafts_early`."""
        yield from ()

    def before_round(self, sequence: Sequence[int], left: int) -> Iterator[Step]:
        """Do what takes steps of its own, such as having a model read what it missed.

        `left`: tokens that may still be written.
        """
        yield from ()

    def propose(self, turn: Turn) -> Proposal:
        """This round's proposal; empty for a plain step."""
        return empty()

    def first_draft(self, turn: Turn) -> Proposal:
        """The chain to verify behind the prompt's last `unread` tokens; empty if none pays."""
        return empty()

    def timed_sizes(self, count: int) -> tuple[int, ...]:
        """Forwards to read a part of a prompt of `count` tokens in, to learn what they cost."""
        return ()

    def read(self, step: Step) -> None:
        """Learn from a part of the prompt that the large model read."""

    def finish(self) -> None:
        """Called when an answer has ended, however it did."""

    def filled(self, size: int) -> int:
        """How many tokens to feed instead of `size` where a fuller forward is the cheaper one."""
        return size

    def learn(self, outcome: Outcome) -> None:
        """Learn from the verdict on a round."""

    def account(self, step: Step) -> None:
        """Learn from what a round took."""

    def account_rest(self, steps: Sequence[Step]) -> None:
        """The same for rounds of a rest, at its end."""
        for step in steps:
            self.account(step)
