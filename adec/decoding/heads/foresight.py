"""Drafts from pseudo positions: the forward that verifies a tree foresees behind each of its nodes.

A round of `pair/draft_verify.py` then takes one forward of one model:

    1. propose   the tree of what was foreseen behind the newest token's carrier
    2. verify    one forward reads the tree; pseudo positions behind its nodes foresee what follows
    3. accept    as for any drafter
    4. learn     the rows foreseen behind the last accepted node are the next round's drafts

`Foreseeing` stands around the engine and adds the pseudo positions: to every forward that gives
rows, or behind the nodes that somebody asks for (`carrying_engine.py`). `Foresight` is the drafter
of fixed trees. What is foreseen at a distance does not depend on what is drafted before it, so a
tree is best first over the product of the chances.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from adec.decoding.heads.carrying_engine import CarryingEngine
from adec.decoding.heads.prompt_trees import RowPrice
from adec.decoding.heads.pseudo_part import use_part
from adec.decoding.meter import Meter
from adec.decoding.pair.drafters.drafter import Drafter, Outcome, Proposal
from adec.decoding.pair.drafters.growth import Growth
from adec.decoding.pair.drafters.shapes import best_first
from adec.engines.protocols import PseudoEngine
from adec.parts.part import Part
from adec.signals import Scores
from adec.tree import ROOT, TokenTree

WIDE = 512
"""Tokens of a forward from which on those without rows are read before it, without a tree."""


class Foreseeing(CarryingEngine):
    """The large model, which foresees in every forward that gives rows, unless `carry` is set."""

    rows = RowPrice(whole=True)

    def __init__(
        self, engine: PseudoEngine, part: Callable[[], Part], most: int = 0, carry: float = 0.0
    ) -> None:
        """`part` is asked for at the first forward that gives rows. `most`: pseudo positions behind
        a carrier; 0: those of the part. `carry`: how likely a node of a tree must be accepted, by
        its drafter's chances, to be a carrier."""
        super().__init__(engine)
        self._ahead = engine
        self._part = part
        self._most = most
        self._carry = carry
        self._count = 0
        self._layers = 0
        self._rows: Scores | None = None
        self._places: dict[int, int] = {}

    def foreseen(self, row: int) -> list[tuple[Scores, int]]:
        """What was foreseen at `row` of the last forward: a row a distance, nearest first.

        Empty where that row was no carrier.
        """
        place = self._places.get(row)
        if place is None or self._rows is None:
            return []
        return [(self._rows, place * self._count + i) for i in range(self._count)]

    def forward(self, tokens: Sequence[int], *, rows: int = 1) -> Scores:
        """See `Engine.forward`. Raises UsageError where there is no part, ModelFileError where it
        does not fit the model."""
        before = len(tokens) - rows
        asked = self._take() if rows > 0 else {}
        if before < 0 or (asked is not None and not asked):
            return self._engine.forward(tokens, rows=rows)
        self._prepare()
        if len(tokens) > WIDE and before:
            self._engine.forward(tokens[:before], rows=0)
            tokens, before = tokens[before:], 0
        tree = TokenTree.chain(tokens)
        if asked is None:
            carriers = list(range(before, len(tokens)))
        else:
            carriers = self._asked_for(asked, before, len(tokens))
        scores = self._run(tree, carriers, before)
        self._engine.keep(range(len(tokens)))
        return scores

    def forward_tree(self, tree: TokenTree, *, first_row: int = 0) -> Scores:
        """See `Engine.forward_tree`."""
        asked = self._take()
        if asked is not None and not asked:
            return self._engine.forward_tree(tree, first_row=first_row)
        self._prepare()
        if asked is None:
            carriers = self._carriers(tree, first_row)
        else:
            carriers = self._asked_for(asked, first_row, len(tree))
        return self._run(tree, carriers, first_row)

    def prepare(self) -> None:
        """See `CarryingEngine.prepare`: the model foresees by one part at a time."""
        self._count = 0

    def row_price(self) -> RowPrice:
        """What a pseudo position takes, by the layers that it runs. Raises as `forward` does."""
        self._prepare()
        return RowPrice(self._layers / max(1, self.info.layers), whole=True)

    @property
    def count(self) -> int:
        """Pseudo positions behind a carrier; 0 before the part was asked for."""
        return self._count

    def _take(self) -> Mapping[int, int] | None:
        """What was asked for, once."""
        self._places, self.beside = {}, (0, 0)
        asked = self.carry
        if asked:
            self.carry = {}
        return asked

    def _asked_for(self, asked: Mapping[int, int], first_row: int, size: int) -> list[int]:
        """The nodes that were asked for, as far as there is room behind the forward."""
        room = (min(self.context - self.length, self.at_once) - size) // self._count
        nodes = [row + first_row for row, count in asked.items() if count]
        return sorted([node for node in nodes if node < size][: max(0, room)])

    def _run(self, tree: TokenTree, carriers: Sequence[int], first_row: int) -> Scores:
        scores, self._rows = self._ahead.forward_ahead(tree, carriers, first_row=first_row)
        self._places = {node - first_row: place for place, node in enumerate(carriers)}
        self.beside = len(carriers) * self._count, self._layers
        return scores

    def _prepare(self) -> None:
        if not self._count:
            states = use_part(self._ahead, self._part(), self._most)
            self._count = states.count
            self._layers = max(1, round(self.info.layers - sum(states.depths) / states.count))

    def _carriers(self, tree: TokenTree, first_row: int) -> list[int]:
        reach: list[float] = []
        for parent, chance in zip(tree.parents, tree.probabilities, strict=True):
            above = 1.0 if parent == ROOT else reach[parent]
            reach.append(above * (1.0 if chance is None else chance))
        return [node for node in range(first_row, len(tree)) if reach[node] >= self._carry]


class Foresight(Drafter):
    """Drafts what the engine foresaw behind the last token that it confirmed."""

    def __init__(self, name: str, engine: Foreseeing, top: int) -> None:
        """`top`: tokens of each distance that a tree may hold."""
        self.name = name
        self._engine = engine
        self._top = top
        self._ahead: list[list[tuple[int, float]]] = []

    def propose(self, sequence: Sequence[int], growth: Growth, meter: Meter) -> Proposal:
        ahead = self._ahead

        def successors(tree: TokenTree, node: int) -> list[tuple[int, float]]:
            depth = len(tree.path(node))
            return ahead[depth] if depth < len(ahead) else []

        grown = best_first(growth, successors, self.limits.end)
        return Proposal(grown.tree, [self.name] * len(grown.tree), grown.chances)

    def learn(self, outcome: Outcome) -> None:
        path = outcome.accepted.path
        foreseen = self._engine.foreseen(path[-1] + 1 if path else 0)
        self._ahead = [scores.top(row, self._top) for scores, row in foreseen]
