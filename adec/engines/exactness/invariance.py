"""Batch invariance: whether a row of scores depends on the forward that it is computed in.

The same tokens are fed one by one, as plain decoding does, and then as chains and as trees, as
verification does. Kernels for several rows may add in another order, so that rows agree up to
rounding only. What was measured is kept by `kept_invariance.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice

import numpy as np

from adec.engines.base import Engine
from adec.signals import Scores
from adec.tree import ROOT, TokenTree

POSITIONS = 24
"""Tokens that are fed again, of each of two sequences."""
SIZES = (2, 3, 4, 5, 6, 8, 12, 16, 32)
"""Tokens of the forwards that are tried. As trees, half of the tokens are rivals."""
ONE_THREAD_CELLS = 256
"""Tokens up to which llama.cpp computes one token's attention on one thread. Beyond, it may split
it, so that rows depend on the number of threads."""
REACH, FARTHEST_REACH = 512, 2048
"""Tokens of the longer sequence that is measured: at least, and at most."""
FARTHEST = 1e30
"""The gap to a token at minus infinity: JSON knows no infinity."""
PIECES = (8, 4)
"""Forwards in which the end of the prompt is read once more."""
AFTER_PIECES = 16
"""Tokens of the answer that are fed behind them."""
QUANTILES = (0.5, 0.9, 0.99, 1.0)
"""Of the changes of the gap between the two best logits."""


@dataclass(frozen=True)
class Reach:
    """Which forwards are bit for bit while a sequence has at most so many tokens."""

    length: int
    """Tokens that the sequence had in the end."""
    chains: tuple[int, ...] = ()
    """Sizes at which every row of a chain was that of single tokens, rising."""
    trees: tuple[int, ...] = ()
    """The same for trees, by nodes; empty where the model runs no trees."""
    tried: tuple[int, ...] = SIZES
    """The sizes that were tried."""

    def holds(self, chain: int, tree: int) -> bool:
        """Whether chains and trees up to these sizes are bit for bit; 1: there was none."""
        return chain <= self.longest(self.chains) and tree <= self.longest(self.trees)

    def longest(self, sizes: Sequence[int]) -> int:
        """The size up to which none that was tried differed; 1 if the smallest did."""
        longest = 1
        for size in self.tried:
            if size not in sizes:
                break
            longest = size
        return longest


@dataclass(frozen=True)
class Invariance:
    """What was measured, on short sequences and on longer ones."""

    reaches: tuple[Reach, ...]
    """By length, rising: each counts for sequences longer than the one before it."""
    noise: tuple[float, ...]
    """How far the gap between the two best logits moved, at `QUANTILES` of all positions and
    forwards, those behind a prompt that was read in other pieces included."""

    @property
    def most(self) -> float:
        """The largest change of the gap."""
        return self.noise[-1]

    def at(self, length: int) -> Reach | None:
        """What counts for a sequence of that length; None beyond what was measured."""
        return next((reach for reach in self.reaches if length <= reach.length), None)

    @property
    def length(self) -> int:
        """Tokens of the longest sequence that was measured."""
        return max((reach.length for reach in self.reaches), default=0)

    def is_bitwise(self, chain: int, tree: int, length: int) -> bool:
        """Whether a sequence of `length` tokens is bit for bit plain's with forwards that large."""
        reaches = [self.at(length), *(r for r in self.reaches if r.length < length)]
        return all(reach is not None and reach.holds(chain, tree) for reach in reaches)


def logit_gap(scores: Scores, row: int, one: int, other: int) -> float:
    """Logit of a token minus that of another."""
    logits = scores.row(row)
    return float(np.clip(logits[one] - logits[other], -FARTHEST, FARTHEST))


def reach_of(tokens: int, context: int) -> int:
    """How long a sequence to measure for answers that end at `tokens`, prompt included."""
    reach = max(REACH, 1 << max(0, tokens - 1).bit_length())
    return min(reach, FARTHEST_REACH, context)


def measure_invariance(
    engine: Engine,
    prompt: Sequence[int],
    answer: Sequence[int],
    *,
    reach: int = REACH,
    sizes: Sequence[int] = SIZES,
    enough: Callable[[], bool] = lambda: False,
) -> Invariance:
    """Feed the end of prompt and answer in forwards of several shapes. Raises EngineError.

    It is done twice: where the sequence has `ONE_THREAD_CELLS` tokens in the end, and where it has
    `reach`. What is missing in front is filled up with the same text again. `sizes`: rising.
    `enough` is asked between two shapes: what it cuts off counts as not bit for bit.
    """
    context = engine.context
    ends = sorted({min(end, context) for end in (ONE_THREAD_CELLS, max(reach, 2))})
    if "rewind" not in engine.capabilities:
        # nothing can be drafted on it
        return Invariance((Reach(ends[-1], tried=()),), (0.0,) * len(QUANTILES))
    changes: list[float] = []
    reaches = []
    for number, end in enumerate(ends):
        if number and enough():
            break
        text = [*prompt, *answer][-end:]
        ids = [*islice(cycle(text), end - len(text)), *text]
        fed = min(POSITIONS, end // 2)
        trial = _Trial(engine, ids[:-fed], ids[-fed:], changes)
        chains, trees = [], []
        for size in sizes:
            if not enough() and trial.chains_agree(size):
                chains.append(size)
        if "tree" in engine.capabilities and engine.branches > 1:
            for size in sizes:
                if not enough() and trial.trees_agree(size):
                    trees.append(size)
        if number == 0:
            trial.read_in_pieces()
        reaches.append(Reach(trial.length, tuple(chains), tuple(trees), tuple(sizes)))
    engine.rewind(0)
    noise = np.quantile(changes, QUANTILES) if changes else np.zeros(len(QUANTILES))
    return Invariance(tuple(reaches), tuple(float(change) for change in noise))


@dataclass
class _Trial:
    """One sequence, whose last tokens are fed in one way and another."""

    engine: Engine
    prompt: list[int]
    tokens: list[int]
    changes: list[float]
    length: int = 0
    _best: list[tuple[int, int]] = field(default_factory=list)
    _gaps: list[float] = field(default_factory=list)
    _rows: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Feed them one by one."""
        self.engine.rewind(0)
        scores = self.engine.forward(self.prompt)
        for token in self.tokens:
            (one, _), (other, _) = scores.top(0, 2)
            self._best.append((one, other))
            self._gaps.append(logit_gap(scores, 0, one, other))
            self._rows.append(_digest(scores, 0))
            scores = self.engine.forward([token])
        self.length = self.engine.length

    def chains_agree(self, size: int) -> bool:
        """Whether all rows are the same where tokens are fed as chains of that size."""
        engine = self.engine
        engine.rewind(len(self.prompt))
        agree = True
        for place, part in _parts(self.tokens, size):
            if engine.length + size > engine.context:
                return agree and place > 0
            fill = part[-1:] * (size - len(part))
            scores = engine.forward([*part, *fill], rows=size)
            agree &= all([self._same(scores, i, place + i + 1) for i in range(len(part))])
            engine.rewind(engine.length - len(fill))
        return agree

    def trees_agree(self, size: int) -> bool:
        """The same as trees of that many nodes, at every other level with the rival first.

        The text's own path is kept, and a single token follows before the next tree.
        """
        engine, tokens = self.engine, self.tokens
        engine.rewind(len(self.prompt))
        levels, agree = max(1, min(size // 2, engine.branches - 1)), True
        for place, (*part, after) in _parts(tokens, levels + 1):
            if not part:
                break
            if engine.length + size > engine.context:
                return agree and place > 0
            tree, path, above = TokenTree(), [], ROOT
            for at, token in enumerate(part, place):
                rival = self._best[at][1] if self._best[at][0] == token else self._best[at][0]
                order = (rival, token) if at % 2 == 0 else (token, rival)
                nodes = {word: tree.add(above, word) for word in order}
                above = nodes[token]
                path.append(above)
            while len(tree) < size:
                tree.add(len(tree) - 1, tokens[-1])
            scores = engine.forward_tree(tree)
            agree &= all([self._same(scores, node, place + i + 1) for i, node in enumerate(path)])
            engine.keep(path)
            agree &= self._same(engine.forward([after]), 0, place + len(part) + 1)
        return agree

    def read_in_pieces(self) -> None:
        """The prompt as forwards whose times are learned cut it up, then the answer one by one."""
        prompt, engine = self.prompt, self.engine
        pieces = [size for size in PIECES if size < len(prompt)]
        rest = len(prompt) - sum(pieces)
        if not pieces or rest < 1:
            return
        engine.rewind(0)
        engine.forward(prompt[:rest])
        at = rest
        for size in pieces:
            scores = engine.forward(prompt[at : at + size], rows=size)
            at += size
        for place, token in enumerate(self.tokens[:AFTER_PIECES]):
            self._same(scores, len(scores) - 1, place)
            scores = engine.forward([token])

    def _same(self, scores: Scores, row: int, place: int) -> bool:
        if place >= len(self._best):
            return True
        self.changes.append(abs(logit_gap(scores, row, *self._best[place]) - self._gaps[place]))
        return _digest(scores, row) == self._rows[place]


def _parts(tokens: Sequence[int], size: int) -> Iterator[tuple[int, list[int]]]:
    for place in range(0, len(tokens), size):
        yield place, list(tokens[place : place + size])


def _digest(scores: Scores, row: int) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(scores.row(row)).tobytes(), digest_size=16).digest()
