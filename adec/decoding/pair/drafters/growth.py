"""How far a proposal may grow: decided node by node, before the node's token is drawn.

A growth never sees the token in question, only how likely it is that some token there will be
accepted. That restraint keeps trees that are sampled in order an honest sample.
"""

from __future__ import annotations

from dataclasses import dataclass

from adec.decoding.pair.clock.acceptance_rate import Rates


@dataclass(slots=True)
class Room:
    """Hard bounds of a proposal, from the context, the answer's limit and the engine."""

    nodes: int
    leaves: int
    """1: a chain."""
    depth: int


class Growth:
    """The budget of one round: here, a number of nodes, whatever they cost."""

    def __init__(self, nodes: int, room: Room, rates: Rates) -> None:
        """`nodes`: at most. `rates`: acceptance so far of the drafter that grows."""
        self.room = room
        self.rates = rates
        self.nodes = 0
        """Nodes added so far."""
        self.most = min(nodes, room.nodes)

    def admits(self, value: float, draft_ms: float = 0.0) -> bool:
        """Whether to find one more node, accepted with chance `value`, at a cost of `draft_ms`."""
        return self.nodes < self.most

    def deepens(self, value: float) -> bool:
        """Whether to look for nodes below one that is accepted with chance `value`."""
        return self.nodes < self.most

    def spend(self, draft_ms: float) -> None:
        """Count time that was spent on finding nodes."""

    def add(self, value: float) -> None:
        """Count a node that was added and is accepted with chance `value`."""
        self.nodes += 1

    def best(self) -> int:
        """How many of the added nodes to verify, from the first. Not for trees sampled in order."""
        return self.nodes
