"""Engines whose forwards foresee: rows behind the tokens that they read, asked for beforehand."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

from adec.decoding.heads.prompt_trees import RowPrice
from adec.engines.base import Engine
from adec.engines.wrapped import WrappedEngine
from adec.signals import Scores
from adec.tree import TokenTree


class CarryingEngine(WrappedEngine):
    """A large model, around which every loop goes on as it does without.

    Who drafts says in `carry` behind which nodes of the next forward rows shall stand, and reads
    them with `foreseen` afterwards. Without that, forwards are the model's own.
    """

    carry: Mapping[int, int] | None = None
    """By row of the next forward, how many rows its node carries; None: nobody said."""
    beside: tuple[int, int] = (0, 0)
    """Rows that the last forward foresaw, and how many layers they ran, on average."""
    rows: RowPrice
    """What a row costs, and how rows come."""

    @abstractmethod
    def foreseen(self, row: int) -> list[tuple[Scores, int]]:
        """What was foreseen at `row` of the last forward: a row a distance, nearest first.

        Empty where that row's node carried nothing.
        """

    def prepare(self) -> None:
        """Called when another one of the same model may have been at work before."""


class SwitchedEngine(CarryingEngine):
    """One of several at a time, around the same model."""

    def __init__(self, engine: Engine, first: CarryingEngine) -> None:
        super().__init__(engine)
        self._now = first

    def use(self, engine: CarryingEngine) -> None:
        """Let `engine` run the forwards from now on."""
        if engine is not self._now:
            self._now.carry = {}
            self._now = engine
            engine.prepare()

    @property
    def beside(self) -> tuple[int, int]:  # type: ignore[override]
        """See `CarryingEngine.beside`."""
        return self._now.beside

    def foreseen(self, row: int) -> list[tuple[Scores, int]]:
        """See `CarryingEngine.foreseen`."""
        return self._now.foreseen(row)

    def forward(self, tokens: Sequence[int], *, rows: int = 1) -> Scores:
        """See `Engine.forward`."""
        return self._now.forward(tokens, rows=rows)

    def forward_tree(self, tree: TokenTree, *, first_row: int = 0) -> Scores:
        """See `Engine.forward_tree`."""
        return self._now.forward_tree(tree, first_row=first_row)
