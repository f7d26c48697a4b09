"""What the whole model says of some texts, and by how much a smaller one says something else.

A text is a prompt and the whole model's own answer. Of each of its rows the likeliest tokens are
kept with their probabilities, and all others as one, so that a divergence needs no more memory than
that: it is then a lower bound, by a thousandth at most where they hold nearly all of the mass.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from adec.engines.base import Engine
from adec.engines.protocols import LayerEngine, Vectors
from adec.events.hostile_json import Count
from adec.signals import Scores, likeliest

KEPT = 512
"""Tokens of a row whose probabilities are kept (paper: 512 are about as good as all)."""
_LEAST = 1e-30


class TextLoss(msgspec.Struct, frozen=True):
    """Sums over the rows of a text. Nats."""

    rows: Count
    divergence: float
    """KL divergence from the whole model."""
    nats: float
    """Of the text itself."""
    agreed: Count
    """Rows whose likeliest token is the whole model's."""

    @property
    def kl(self) -> float:
        """Nats a token."""
        return self.divergence / max(1, self.rows)

    @property
    def perplexity(self) -> float:
        """Of the text."""
        return float(np.exp(min(self.nats / max(1, self.rows), 700)))

    @property
    def agreement(self) -> float:
        """Share of the rows."""
        return self.agreed / max(1, self.rows)


def together(parts: Collection[TextLoss]) -> TextLoss:
    """The sums over several texts."""
    return TextLoss(
        sum(part.rows for part in parts),
        sum(part.divergence for part in parts),
        sum(part.nats for part in parts),
        sum(part.agreed for part in parts),
    )


@dataclass(frozen=True)
class KnownText:
    """A text with what the whole model says of it; arrays have a row for each scored token."""

    tokens: tuple[int, ...]
    rows: int
    """Of the last tokens but one; those before are the same in all texts."""
    ids: NDArray[np.int32]
    """Likeliest tokens, shape (rows, kept), likeliest first."""
    probabilities: NDArray[np.float32]
    """Theirs."""


def know(engine: Engine, tokens: Sequence[int], skipped: int) -> KnownText:
    """Let the whole model read a text. Rows after the first `skipped` tokens count."""
    rows = max(1, len(tokens) - 1 - skipped)
    kept = min(KEPT, len(engine.vocabulary))
    engine.rewind(0)
    scores = engine.forward(list(tokens[:-1]), rows=rows)
    ids = np.zeros((rows, kept), dtype=np.int32)
    probabilities = np.zeros((rows, kept), dtype=np.float32)
    for index in range(rows):
        row = scores.row(index)
        best = likeliest(row, kept)
        ids[index, : len(best)] = best
        probabilities[index, : len(best)] = np.exp(_log_of(row, best))
    return KnownText(tuple(tokens), rows, ids, probabilities)


def read_again(engine: Engine, text: KnownText) -> TextLoss:
    """What a smaller model loses on a text; `engine` is left empty."""
    engine.rewind(0)
    try:
        scores = engine.forward(list(text.tokens[:-1]), rows=text.rows)
        return _compared(scores, text)
    finally:
        engine.rewind(0)


def lost(
    engine: LayerEngine,
    text: KnownText,
    left_out: Collection[int],
    *,
    attention: Collection[int] = (),
    feed_forward: Collection[int] = (),
) -> TextLoss:
    """What leaving out these blocks, and halves of those, loses on a text."""
    engine.rewind(0)
    engine.leave_out(left_out, attention=attention, feed_forward=feed_forward)
    try:
        return read_again(engine, text)
    finally:
        engine.rewind(0)
        engine.leave_out(())


def _compared(scores: Scores, text: KnownText) -> TextLoss:
    divergence = nats = 0.0
    agreed = 0
    following = text.tokens[len(text.tokens) - text.rows :]
    for index, token in enumerate(following):
        row, p = scores.row(index), text.probabilities[index].astype(np.float64)
        wanted = np.append(text.ids[index], token)
        logs = _log_of(row, wanted).astype(np.float64)
        q = logs[:-1]
        alive = p > 0
        rest, other = max(0.0, 1 - p.sum()), max(0.0, 1 - np.exp(q[alive]).sum())
        divergence += float((p[alive] * (np.log(p[alive]) - q[alive])).sum())
        if rest > 0:
            divergence += rest * float(np.log(rest) - np.log(max(other, _LEAST)))
        nats -= float(logs[-1])
        agreed += int(row.argmax()) == int(text.ids[index, 0])
    return TextLoss(text.rows, float(divergence), float(nats), agreed)


def changes(engine: LayerEngine, texts: Sequence[KnownText]) -> list[float]:
    """By how much each block turns its input, 1 - cos, the mean over tokens ("block influence").

    Men et al. 2024, "ShortGPT", arXiv 2403.03853, leave out the blocks that turn it least.
    """
    depth = engine.info.layers
    sums, count = np.zeros(depth), 0
    for text in texts:
        states = _states(engine, text, range(depth + 1))
        sums += [_turn(states[block], states[block + 1]) for block in range(depth)]
        count += text.rows
    return [float(total / max(1, count)) for total in sums]


def changes_by_halves(
    engine: LayerEngine, texts: Sequence[KnownText], tick: Callable[[float], None]
) -> tuple[list[float], list[float]]:
    """The same of each block's attention, and of each block's feed-forward part."""
    depth = engine.info.layers
    sums, count = np.zeros((2, depth)), 0
    for number, text in enumerate(texts):
        states = _states(engine, text, range(depth + 1))
        for block in range(depth):
            tick((number + block / depth) / len(texts))
            # what is between the two is what the block says without its second half
            engine.leave_out((), feed_forward=[block])
            try:
                (between,) = _states(engine, text, [block + 1])
            finally:
                engine.leave_out(())
            sums[0, block] += _turn(states[block], between)
            sums[1, block] += _turn(between, states[block + 1])
        count += text.rows
    attention, feed_forward = (sums / max(1, count)).tolist()
    return attention, feed_forward


def _states(engine: LayerEngine, text: KnownText, depths: Sequence[int]) -> list[Vectors]:
    """Those of the rows of a text that count; `engine` is left empty."""
    engine.rewind(0)
    try:
        engine.lower(list(text.tokens[:-1]), max(depths))
        return [engine.states_at(depth, rows=text.rows) for depth in depths]
    finally:
        engine.rewind(0)


def _turn(before: Vectors, after: Vectors) -> float:
    """1 - cos of one state to another, summed over rows."""
    lengths = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    return float((1 - (before * after).sum(axis=1) / np.maximum(lengths, _LEAST)).sum())


def common_start(texts: Sequence[Sequence[int]]) -> int:
    """How many tokens all texts begin with alike."""
    if len(texts) < 2:
        return 0
    least = min(len(text) for text in texts)
    for at in range(least):
        if any(text[at] != texts[0][at] for text in texts[1:]):
            return at
    return least


def _log_of(row: NDArray[np.float32], ids: NDArray[Any]) -> NDArray[np.float32]:
    """Logarithms of the probabilities of some tokens of a row of logits."""
    highest = row.max()
    total = np.log(np.exp(row - highest).sum(dtype=np.float64))
    logs: NDArray[np.float32] = np.maximum(row[ids] - highest - total, -700).astype(np.float32)
    return logs
