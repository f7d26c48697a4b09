"""Batch invariance: whether a row of scores depends on the forward that it is computed in.

The same tokens are fed one by one, as plain decoding does, and then as chains and as trees, as
verification does. Kernels for several rows may add in another order, so that rows agree up to
rounding only. What was measured is kept for each model, machine and number of threads.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from adec.engines.base import Engine
from adec.engines.model_key import model_key
from adec.places import kept_folder
from adec.signals import Scores
from adec.tree import ROOT, TokenTree
from adec.whole_file import whole_file

POSITIONS = 48
"""Tokens of an answer that are fed again."""
SIZES = (2, 3, 4, 8, 16, 32)
"""Tokens of the forwards that are tried. As trees, half of the tokens are rivals."""
ONE_THREAD_CELLS = 256
"""Tokens up to which llama.cpp computes one token's attention on one thread. Beyond, it may split
it, so that rows depend on the number of threads."""
FARTHEST = 1e30
"""The gap to a token at minus infinity: JSON knows no infinity."""
PIECES = (8, 4)
"""Forwards in which the end of the prompt is read once more."""
AFTER_PIECES = 16
"""Tokens of the answer that are fed behind them."""
FILE_BYTES = 4096
_SCHEMA = 2


@dataclass(frozen=True)
class Invariance:
    """What was measured."""

    chains: int
    """Tokens of a chain up to which every row was bit for bit that of single tokens; 1: none."""
    trees: int
    """The same for trees, by nodes; 1 also where the model runs no trees."""
    length: int
    """Tokens that the sequence had in the end. Beyond, kernels may take other ways."""
    median: float
    """Of the change of the gap between the two best logits, over all positions and forwards, those
    that read the prompt in other pieces included."""
    most: float
    """The largest such change."""

    def is_bitwise(self, chains: int, trees: int, length: int) -> bool:
        """Whether a sequence of `length` tokens is bit for bit plain's with forwards that large."""
        return chains <= self.chains and trees <= self.trees and length <= self.length


def logit_gap(scores: Scores, row: int, one: int, other: int) -> float:
    """Logit of a token minus that of another."""
    logits = scores.row(row)
    return float(np.clip(logits[one] - logits[other], -FARTHEST, FARTHEST))


def measure_invariance(
    engine: Engine, prompt: Sequence[int], answer: Sequence[int], *, sizes: Sequence[int] = SIZES
) -> Invariance:
    """Feed the beginning of an answer in forwards of several shapes. Raises EngineError.

    `sizes`: rising. Of a tree the answer's path is kept, so that the next one lies behind it.
    """
    tokens = answer[:POSITIONS]
    engine.rewind(0)
    scores = engine.forward(prompt)
    best: list[tuple[int, int]] = []
    gaps: list[float] = []
    rows: list[bytes] = []
    for token in tokens:
        (one, _), (other, _) = scores.top(0, 2)
        best.append((one, other))
        gaps.append(logit_gap(scores, 0, one, other))
        rows.append(_digest(scores, 0))
        scores = engine.forward([token])
    length = engine.length
    changes: list[float] = []

    def same(scores: Scores, row: int, place: int) -> bool:
        if place >= len(best):
            return True
        changes.append(abs(logit_gap(scores, row, *best[place]) - gaps[place]))
        return _digest(scores, row) == rows[place]

    def chains_agree(size: int) -> bool:
        engine.rewind(len(prompt))
        agree = True
        for place in range(0, len(tokens), size):
            part = tokens[place : place + size]
            scores = engine.forward(part, rows=len(part))
            agree &= all([same(scores, i, place + i + 1) for i in range(len(part))])
        return agree

    def trees_agree(size: int) -> bool:
        engine.rewind(len(prompt))
        levels, agree = max(1, min(size // 2, engine.branches - 1)), True
        for place in range(0, len(tokens), levels):
            tree, path, above = TokenTree(), [], ROOT
            for at in range(place, min(place + levels, len(tokens))):
                rival = best[at][1] if best[at][0] == tokens[at] else best[at][0]
                tree.add(above, rival)
                above = tree.add(above, tokens[at])
                path.append(above)
            while len(tree) < size:
                tree.add(len(tree) - 1, tokens[-1])
            scores = engine.forward_tree(tree)
            agree &= all([same(scores, node, place + i + 1) for i, node in enumerate(path)])
            engine.keep(path)
        return agree

    def prompt_in_pieces() -> None:
        """The prompt as forwards whose times are learned cut it up, then the answer one by one."""
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
        for place, token in enumerate(tokens[:AFTER_PIECES]):
            same(scores, len(scores) - 1, place)
            scores = engine.forward([token])

    branching = "tree" in engine.capabilities and engine.branches > 1
    chains = [chains_agree(size) for size in sizes]
    trees = [trees_agree(size) for size in sizes] if branching else []
    prompt_in_pieces()
    engine.rewind(0)
    return Invariance(
        _largest(sizes, chains),
        _largest(sizes, trees),
        length,
        float(np.median(changes)) if changes else 0.0,
        max(changes, default=0.0),
    )


def kept_invariance(engine: Engine) -> Invariance | None:
    """What was measured for this model, machine and number of threads; None if nothing was."""
    try:
        with (kept_folder("exactness") / f"{_key(engine)}.json").open("rb") as file:
            data = json.loads(file.read(FILE_BYTES))
        if data.pop("schema") != _SCHEMA:
            return None
        counts = {name: int(data[name]) for name in ("chains", "trees", "length")}
        return Invariance(**counts, median=float(data["median"]), most=float(data["most"]))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def keep_invariance(engine: Engine, found: Invariance) -> None:
    """Keep it for later runs. If it cannot be written, it is measured again."""
    folder = kept_folder("exactness")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(folder / f"{_key(engine)}.json") as file:
            file.write(json.dumps({"schema": _SCHEMA, **asdict(found)}))
    except OSError:
        return


def _digest(scores: Scores, row: int) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(scores.row(row)).tobytes(), digest_size=16).digest()


def _largest(sizes: Sequence[int], agree: Sequence[bool]) -> int:
    largest = 1
    for size, one in zip(sizes, agree, strict=False):
        if not one:
            break
        largest = size
    return largest


def _key(engine: Engine) -> str:
    return model_key(engine, str(engine.threads))
