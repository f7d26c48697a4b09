"""What a drafter is: it proposes a tree of tokens, and learns from what became of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from adec.decoding.meter import Meter
from adec.decoding.pair.acceptance import Verdict
from adec.decoding.pair.growth import Growth
from adec.decoding.pair.law import Law
from adec.decoding.strategy import Limits
from adec.events.records import Step
from adec.signals import Scores
from adec.tree import ROOT, TokenTree


@dataclass(slots=True)
class Proposal:
    """A tree, who wrote each node, and the drafter's rows where there are any."""

    tree: TokenTree
    sources: list[str] = field(default_factory=list)
    """By node: the name of the drafter that wrote it."""
    chances: list[float] = field(default_factory=list)
    """By node: how sure the drafter is of it given its parent, in (0, 1]; acceptance is tracked by this."""
    rows: dict[int, tuple[Scores, int]] = field(default_factory=dict)
    """By node (ROOT for the trunk's end): the small model's row that the node's children were chosen from."""
    laws: dict[int, Law] = field(default_factory=dict)
    """By node, for trees sampled in order: the law of the node's first child."""
    stop: str | None = None
    """Why a stop rule ended the draft, in words."""
    signal: tuple[float, float] | None = None
    """What the stop rule last looked at, and its threshold."""

    def __len__(self) -> int:
        return len(self.tree)

    def first(self, nodes: int) -> Proposal:
        """The first `nodes` nodes of a tree that was chosen, not sampled in order."""
        tree = self.tree
        part = TokenTree(tree.tokens[:nodes], tree.parents[:nodes], tree.probabilities[:nodes])
        return replace(self, tree=part, sources=self.sources[:nodes], chances=self.chances[:nodes])


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a proposal."""

    proposal: Proposal
    verdict: Verdict
    sequence: Sequence[int]
    """Everything committed, this round's tokens included."""
    base: int
    """Committed tokens before this round."""
    scores: Scores
    """The large model's rows: row 0 follows the trunk's end, row 1 + i follows node i."""


class Drafter(Protocol):
    """One way of writing ahead. It may hold an engine, whose cache is a prefix of what is committed after `learn`."""

    @property
    def name(self) -> str:
        """The `source` of its tokens."""
        ...

    @property
    def sampled_in_order(self) -> bool:
        """Whether its trees are legal for rejection without replacement."""
        ...

    @property
    def streak(self) -> int:
        """Committed tokens in a row that it would have drafted, as far as it knows without being asked; 0 where it does not."""
        ...

    def start(self, prompt: Sequence[int], limits: Limits) -> Iterator[Step]:
        """A new answer begins: read the prompt, a step a chunk."""
        ...

    def propose(self, sequence: Sequence[int], growth: Growth, meter: Meter) -> Proposal:
        """A tree after `sequence`, as far as `growth` admits nodes. It may be empty."""
        ...

    def learn(self, outcome: Outcome) -> None:
        """Take in a round, also one that proposed nothing: its rows, and what is committed now."""
        ...


def empty() -> Proposal:
    """No proposal."""
    return Proposal(TokenTree())


def path_tokens(tree: TokenTree, node: int) -> list[int]:
    """Tokens from the top down to `node`."""
    tokens: list[int] = []
    while node != ROOT:
        tokens.append(tree.tokens[node])
        node = tree.parents[node]
    return tokens[::-1]
