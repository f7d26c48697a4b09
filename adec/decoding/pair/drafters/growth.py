"""How far a proposal may grow: decided node by node, before the node's token is drawn.

A growth never sees the token in question, only how likely it is that some token there will be
accepted. That restraint keeps trees that are sampled in order an honest sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from adec.decoding.pair.clock.acceptance_rate import Rates


@dataclass(frozen=True, slots=True)
class Room:
    """Hard bounds of a proposal, from the context, the answer's limit and the engine."""

    nodes: int
    leaves: int
    """1: a chain."""
    depth: int


class Growth(Protocol):
    """The budget of one round."""

    @property
    def room(self) -> Room: ...

    @property
    def rates(self) -> Rates:
        """Acceptance so far of the drafter that grows."""
        ...

    def admits(self, value: float, draft_ms: float = 0.0) -> bool:
        """Whether to find one more node, accepted with chance `value`, at a cost of `draft_ms`."""
        ...

    def spend(self, draft_ms: float) -> None:
        """Count time that was spent on finding nodes."""
        ...

    def add(self, value: float) -> None:
        """Count a node that was added and is accepted with chance `value`."""
        ...

    def best(self) -> int:
        """How many of the added nodes to verify, from the first. Not for trees sampled in order."""
        ...


class FixedGrowth:
    """A number of nodes, whatever they cost."""

    def __init__(self, nodes: int, room: Room, rates: Rates) -> None:
        self.room = room
        self.rates = rates
        self.nodes = 0
        self._most = min(nodes, room.nodes)

    def admits(self, value: float, draft_ms: float = 0.0) -> bool:
        return self.nodes < self._most

    def spend(self, draft_ms: float) -> None:
        pass

    def add(self, value: float) -> None:
        self.nodes += 1

    def best(self) -> int:
        return self.nodes
