"""Who drafts in a round, and how much: the part of speculation that a strategy chooses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

from adec.decoding.meter import Meter
from adec.decoding.pair.costs import CostCurve
from adec.decoding.pair.drafters.drafter import Drafter, Outcome, Proposal, empty
from adec.decoding.pair.growth import FixedGrowth, Growth, Room
from adec.decoding.pair.rates import Rates
from adec.decoding.strategy import Limits
from adec.events.records import Step
from adec.tree import ROOT


class Planner(Protocol):
    """Proposes round by round, and is told what came of it."""

    @property
    def reason(self) -> str | None:
        """Why this round is as it is, when that changed."""
        ...

    @property
    def plain_ms(self) -> float | None:
        """What a plain one-token forward of the large model takes now, where the planner knows."""
        ...

    def start(self, prompt: Sequence[int], limits: Limits) -> Iterator[Step]:
        """A new answer begins."""
        ...

    def propose(self, sequence: Sequence[int], room: Room, unread: int, meter: Meter) -> Proposal:
        """This round's proposal; empty for a plain step. `unread`: tokens that the large model reads in any case."""
        ...

    def filled(self, size: int) -> int:
        """Tokens that the verifying forward of `size` tokens shall be filled up to; `size` where that is best."""
        ...

    def learn(self, outcome: Outcome) -> None:
        """The round was judged."""
        ...

    def account(self, step: Step) -> None:
        """The round is over and took what the step says."""
        ...


@runtime_checkable
class Clocked(Protocol):
    """What decides by forward times: a planner, or the strategy around it."""

    @property
    def is_measured(self) -> bool:
        """Whether a curve was given."""
        ...

    def measured(self, curve: CostCurve, small: CostCurve | None = None) -> None:
        """The large model's curve is known, and perhaps that of the small one; nothing is measured again."""
        ...


@runtime_checkable
class Early(Protocol):
    """A planner that may have the large model verify a first draft in the forward that reads the end of the prompt."""

    @property
    def early(self) -> bool:
        """Whether it wants to: then it is started before the large model reads the prompt."""
        ...

    def ahead(self, sequence: Sequence[int], room: Room, unread: int, meter: Meter) -> Proposal:
        """The chain that is verified behind the last `unread` tokens of the prompt; empty where that does not pay."""
        ...


class FixedPlanner:
    """One drafter, always, with a budget that does not depend on time: how the papers describe most methods."""

    reason: str | None = None
    plain_ms: float | None = None

    def __init__(
        self, drafter: Drafter, nodes: int | Callable[[], int], *, chain: bool = False
    ) -> None:
        """`chain`: no branches, whatever the verifier could judge."""
        self.drafter = drafter
        self._chain = chain
        self._nodes = nodes
        self._rates = Rates()  # stays empty: a node's chance is then what the drafter says of it

    def start(self, prompt: Sequence[int], limits: Limits) -> Iterator[Step]:
        yield from self.drafter.start(prompt, limits)

    def propose(self, sequence: Sequence[int], room: Room, unread: int, meter: Meter) -> Proposal:
        nodes = self._nodes if isinstance(self._nodes, int) else self._nodes()
        if self._chain:
            room = replace(room, leaves=1)
        growth: Growth = FixedGrowth(nodes, room, self._rates)
        if min(nodes, room.nodes, room.depth) < 1:
            return empty()
        return self.drafter.propose(sequence, growth, meter)

    def filled(self, size: int) -> int:
        return size

    def learn(self, outcome: Outcome) -> None:
        self.drafter.learn(outcome)

    def account(self, step: Step) -> None:
        pass


def observe(rates: Rates, outcome: Outcome, in_order: bool) -> None:
    """Count every node that was really judged: the children of the trunk's end and of accepted nodes."""
    tree, path = outcome.proposal.tree, outcome.verdict.path
    standing = set(path)
    reached = {-1: 0} | {node: depth + 1 for depth, node in enumerate(path)}
    ranks: dict[int, int] = {}
    settled: set[int] = set()
    for node, parent in enumerate(tree.parents):
        if parent not in reached or parent in settled:
            continue
        rank = ranks.get(parent, 0)
        ranks[parent] = rank + 1
        accepted = node in standing
        rates.observe(outcome.proposal.chances[node], reached[parent], rank, accepted)
        if accepted and in_order:
            settled.add(parent)


def overhear(rates: Rates, proposal: Proposal, committed: Sequence[int]) -> None:
    """Count the nodes of a proposal that was not tried, as far as what was committed in its place judges them."""
    tree, above = proposal.tree, ROOT
    for depth, token in enumerate(committed):
        children = [node for node, parent in enumerate(tree.parents) if parent == above]
        above = ROOT
        for rank, node in enumerate(children):
            accepted = tree.tokens[node] == token
            rates.observe(proposal.chances[node], depth, rank, accepted)
            if accepted:
                above = node
        if above == ROOT:
            return
