"""A table engine whose rows depend on the forwards that it ran, as those of real kernels do."""

from __future__ import annotations

import random
from functools import cache

import numpy as np

from adec.engines.table import TableEngine
from adec.signals import ArrayScores
from adec.tree import ROOT

LOOKED_AT = 4
"""Tokens at the end of a sequence that its law may look at."""


class ShapedTable(TableEngine):
    """Its cache remembers in what forward each token was read.

    `chains` and `trees`: sizes that are like single tokens, while the sequence has at most `reach`
    tokens. All others leave a mark, and a row behind marks has other logits. `rivals`: accepted
    side branches after which the cache is no longer in order, and every row is another one.
    """

    chains: tuple[int, ...] = ()
    trees: tuple[int, ...] = ()
    reach = 10_000
    rivals = 10_000
    error = 3.0
    in_order = True

    def __init__(self, law, **options) -> None:
        super().__init__(law, **options)
        self.marks: list[int] = []
        """Of each token the size of its forward, 0 where that is like a single one."""
        self._seen = [0]  # for each length, a digest of the marks up to there; 0: there are none
        self._side: list[int] = []
        self._logits = cache(lambda tokens: np.asarray(self._scores([tokens]).row(0)))

    def _mark(self, size: int, end: int, known: tuple[int, ...]) -> int:
        if not self.in_order:
            return -1
        return 0 if size == 1 or (size in known and end <= self.reach) else size

    def _append(self, tokens, rows):
        mark = self._mark(len(tokens), self.length + len(tokens), self.chains)
        self._tokens.extend(tokens)
        self.fed.append(list(tokens))
        self._put(mark, len(tokens))
        ends = range(len(self._tokens) - rows + 1, len(self._tokens) + 1)
        return self._rows([(self._tokens[max(0, e - LOOKED_AT) : e], self._seen[e]) for e in ends])

    def _append_tree(self, tree, known, first_row):
        size = len(tree) - known
        sizes = self.chains if tree.is_chain else self.trees
        self._pending = mark = self._mark(size, self.length + len(tree), sizes)
        rows = []
        for token, parent in zip(tree.tokens, tree.parents, strict=True):
            before, seen = rows[parent] if parent != ROOT else (self._tokens, self._seen[-1])
            rows.append(([*before[-LOOKED_AT:], token], digest(seen, mark)))
        self.fed.append(tree.tokens[known:])
        return self._rows(rows[first_row:])

    def _rows(self, rows):
        found = [self._logits(tuple(tokens[-LOOKED_AT:])) for tokens, _ in rows]
        found = [
            row if not seen else (row + noise(seen, len(row), self.error)).astype(np.float32)
            for row, (_, seen) in zip(found, rows, strict=True)
        ]
        return ArrayScores(np.array(found).reshape(len(rows), len(self.vocabulary)))

    def _keep(self, tree, path):
        if list(path) != list(range(len(path))):
            self._side.append(self.length)
        if len(self._side) > self.rivals:
            self.in_order = False
        self._put(self._pending, len(path))
        super()._keep(tree, path)

    def _put(self, mark: int, count: int) -> None:
        self.marks += [mark] * count
        for _ in range(count):
            self._seen.append(digest(self._seen[-1], mark))

    def _cut(self, length: int) -> None:
        super()._cut(length)
        del self.marks[length:]
        del self._seen[length + 1 :]
        self._side = [at for at in self._side if at < length]
        if length == 0:
            self.in_order = True


def digest(seen: int, mark: int) -> int:
    """Of marks up to one more: 0 while there are none."""
    return hash((seen, mark)) if seen or mark else 0


def noise(seen: int, size: int, error: float) -> np.ndarray:
    """What marks add to a row."""
    drawn = random.Random(seen)
    return np.array([error * drawn.random() for _ in range(size)], dtype=np.float32)
