"""How far a proposal may grow: asked node by node, before the node's token is drawn.

A growth never sees the token in question, only how likely it is that some token there will be reached and accepted. That
restraint keeps trees that are sampled in order an honest sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from adec.decoding.pair.costs import CostCurve
from adec.decoding.pair.rates import Rates


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
        """Whether a further node is worth it that is accepted with chance `value` and costs `draft_ms` to find."""
        ...

    def spend(self, draft_ms: float) -> None:
        """`draft_ms` were spent on finding nodes."""
        ...

    def add(self, value: float) -> None:
        """A node was added that is accepted with chance `value`."""
        ...

    def best(self) -> int:
        """How many of the nodes added are worth verifying, counted from the first. Not for trees sampled in order."""
        ...


class FixedGrowth:
    """So many nodes, whatever they cost."""

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


AHEAD = 16
"""Nodes beyond the next one that a decision looks at: the widest step that kernels of a CPU show. Without looking ahead a
budget never climbs a step behind which several nodes are free."""

STEADY = 0.97
"""Value of a node that is not there yet, as a share of the one before it, at most. Below that it is as the last two nodes were to
each other: a draft that has been sure goes on being sure, and one that has become unsure stops."""


class TimedGrowth:
    """A node is added while expected committed tokens per measured millisecond still rise.

    Expected tokens are 1 + the sum of the nodes' chances (each is committed or not; the large model's own token
    always is); the time is what drafting took plus the verifying forward of unread tokens and nodes.
    Where that forward reads a prompt as well, it is made in any case, and its rate says nothing: there a node is added while the
    tokens expected of it are worth more than the time that it adds.
    """

    def __init__(
        self,
        curve: CostCurve,
        *,
        unread: int,
        own_ms: float,
        room: Room,
        rates: Rates,
        most: int,
        worth_ms: float | None = None,
    ) -> None:
        """`worth_ms`: what a token takes in later rounds, for a forward that is made in any case; None: the rate counts."""
        self.room = room
        self.rates = rates
        self.nodes = 0
        self.tokens = 1.0
        self._last = 1.0
        self._expected = [1.0]
        self._curve = curve
        self._unread = unread
        self._spent = own_ms
        self._most = min(most, room.nodes)
        self._worth_ms = worth_ms

    def admits(self, value: float, draft_ms: float = 0.0) -> bool:
        if self.nodes >= self._most:
            return False
        now = self._score(self.tokens, self._ms(self.nodes))
        tokens, spent, chance = self.tokens, 0.0, value
        decay = min(STEADY, value / self._last) if self._last > 0 else 0.0
        for more in range(1, min(AHEAD, self._most - self.nodes) + 1):
            tokens += chance
            spent += draft_ms
            if self._score(tokens, self._ms(self.nodes + more) + spent) > now:
                return True
            chance *= decay
        return False

    def spend(self, draft_ms: float) -> None:
        self._spent += draft_ms

    def add(self, value: float) -> None:
        self.nodes += 1
        self.tokens += value
        self._last = value
        self._expected.append(self.tokens)

    def best(self) -> int:
        # a step that was climbed towards in vain leaves a tail that does not pay
        return max(range(self.nodes + 1), key=lambda n: self._score(self._expected[n], self._ms(n)))

    @property
    def best_rate(self) -> float:
        """Tokens per millisecond at the best number of nodes."""
        best = self.best()
        return self._expected[best] / self._ms(best)

    def _score(self, tokens: float, ms: float) -> float:
        return tokens / ms if self._worth_ms is None else tokens * self._worth_ms - ms

    def _ms(self, nodes: int) -> float:
        return max(1e-6, self._spent + self._curve.ms(self._unread + nodes))


class Overheard:
    """A growth that admits some nodes more than are worth verifying, to learn from what is committed whether they were right.

    `best` keeps them all: the caller cuts the proposal to the inner growth's own `best`.
    """

    def __init__(self, growth: TimedGrowth, least: int) -> None:
        self.room = growth.room
        self.rates = growth.rates
        self._growth = growth
        self._least = min(least, growth.room.nodes)

    def admits(self, value: float, draft_ms: float = 0.0) -> bool:
        return self._growth.nodes < self._least or self._growth.admits(value, draft_ms)

    def spend(self, draft_ms: float) -> None:
        self._growth.spend(draft_ms)

    def add(self, value: float) -> None:
        self._growth.add(value)

    def best(self) -> int:
        return self._growth.nodes
