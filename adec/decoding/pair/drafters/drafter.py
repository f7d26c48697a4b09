"""What a drafter is: it proposes a tree of tokens, and learns what became of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from adec.decoding.meter import Meter
from adec.decoding.pair.clock.cost_curve import CostCurve
from adec.decoding.pair.drafters.draws import Law
from adec.decoding.pair.drafters.growth import Growth
from adec.decoding.strategy import Limits
from adec.engines.base import Engine
from adec.events.records import Step
from adec.signals import Scores
from adec.tree import TokenTree


@dataclass(slots=True)
class Proposal:
    """A tree, who wrote each node, and the drafter's rows where it has any."""

    tree: TokenTree
    sources: list[str] = field(default_factory=list)
    """By node: the name of the drafter that wrote it."""
    chances: list[float] = field(default_factory=list)
    """By node: the drafter's probability of it given its parent, in (0, 1]. Acceptance is counted
    by this."""
    rows: dict[int, tuple[Scores, int]] = field(default_factory=dict)
    """By node (ROOT for the trunk's end): the small model's row that its children were chosen
    from."""
    laws: dict[int, Law] = field(default_factory=dict)
    """By node, for trees sampled in order: the distribution that its first child was drawn from."""
    stop: str | None = None
    """Why a stop rule ended the draft, in words."""
    signal: tuple[float, float] | None = None
    """The last value that the stop rule looked at, and its threshold."""

    def __len__(self) -> int:
        return len(self.tree)

    def first(self, nodes: int) -> Proposal:
        """The first `nodes` nodes. Not for a tree that was sampled in order."""
        tree = self.tree
        if nodes == len(tree):
            return self
        part = TokenTree(tree.tokens[:nodes], tree.parents[:nodes], tree.probabilities[:nodes])
        return replace(self, tree=part, sources=self.sources[:nodes], chances=self.chances[:nodes])


@dataclass(slots=True)
class Accepted:
    """What stands of a proposal: a path of the tree, and the large model's token after it."""

    path: tuple[int, ...]
    """The accepted nodes, from the top down."""
    token: int | None
    """None when the path ends in an end token."""
    bonus: bool
    """Whether the token follows a path that was accepted down to its leaf. If not, it replaces a
    draft."""


@dataclass(slots=True)
class Outcome:
    """A round, for those who learn from it."""

    proposal: Proposal
    accepted: Accepted
    sequence: Sequence[int]
    """Everything committed, including this round's tokens."""
    base: int
    """Tokens committed before this round."""
    scores: Scores
    """The large model's rows: row 0 follows the trunk's end, row 1 + i follows node i."""
    meter: Meter = field(default_factory=Meter)
    """Times what the drafters do to their caches."""


class Drafter(ABC):
    """One way of writing ahead. The defaults are those of a drafter that runs no model.

    A drafter may hold an engine, whose cache is a prefix of what is committed once it has learnt.
    """

    name: str
    """The `source` of its tokens."""
    sampled_in_order: bool = False
    """Whether its trees are legal for rejection without replacement."""
    runs_a_model: bool = False
    """Whether a proposal takes forwards. If not, asking costs microseconds."""
    needs_every_round: bool = True
    """Whether it must learn from rounds in which it is paused."""
    streak: int = 0
    """How many tokens in a row it would have drafted right, as far as it knows without
    proposing."""

    def start(self, prompt: Sequence[int], limits: Limits) -> Iterator[Step]:
        """Begin a new answer; a drafter with a model reads the prompt, a step a chunk."""
        self.limits = limits
        yield from ()

    @abstractmethod
    def propose(self, sequence: Sequence[int], growth: Growth, meter: Meter) -> Proposal:
        """A tree after `sequence`, as far as `growth` admits nodes. It may be empty."""

    @abstractmethod
    def learn(self, outcome: Outcome) -> None:
        """Take in a round, whoever proposed in it: the rows, and what is committed now."""

    def unread(self, sequence: Sequence[int]) -> int:
        """Tokens that its model must read before it can draft."""
        return 0

    def unread_of_prompt(self, prompt: Sequence[int], limits: Limits) -> int:
        """Tokens that its model would have to read to start an answer to `prompt`."""
        return 0

    def draft_ms(self, count: int = 1) -> float:
        """Expected milliseconds of a forward of `count` tokens of its model; 0 while unknown."""
        return 0.0

    def assume(  # noqa: B027 - none by default
        self, large: Engine, curve: CostCurve, slowness: float
    ) -> None:
        """Guess its model's forward times from the large model's, until some were seen.

        `slowness`: how many times as long as measured beforehand the large model takes today.
        """

    def forget_times(self) -> None:  # noqa: B027 - a drafter without a model has none
        """Forget what its forwards took; called when they are too old to decide anything."""


def empty() -> Proposal:
    """No proposal."""
    return Proposal(TokenTree())
