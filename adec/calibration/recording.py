"""The large model's own answers, and what both models say of every position of them.

The large model answers once, token by token. Then each model reads the answer in one batch: row t of both predicts token t, on the large
model's path. Whatever a strategy decides there can be replayed without a forward, as long as it stays on that path.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adec.decoding.pair.cascade import total_variation
from adec.engines.base import Engine
from adec.engines.pair import Engines
from adec.events.records import Role
from adec.signals import ListedSignals, Scores

Column = NDArray[np.float64]

RANKS = 64
"""Ranks are counted up to this one; beyond, a draft of the small model's list is hopeless anyway."""
_LISTS = ("large_ids", "large_list", "small_ids", "small_list")
LISTED = 8
"""Likeliest tokens of each model that are kept: what a tree of drafts or a table of a replayed run may look at."""
DIGITS = 6


@dataclass(frozen=True)
class Answer:
    """The large model's own answer to a prompt."""

    tokens: tuple[int, ...]
    text: str
    ms: float
    """Decoding time, the prompt and the first token apart."""
    right: bool | None = None


@dataclass(frozen=True)
class Record:
    """One answer position by position; columns have shape (tokens,), lists (tokens, up to LISTED). Entropies are nats, probabilities at temperature 1."""

    prompt_tokens: int
    tokens: tuple[int, ...]
    large_entropy: Column
    large_margin: Column
    large_top: Column
    """Probability of the large model's likeliest token."""
    large_chosen: Column
    """Probability, under the large model, of the token that it wrote."""
    small_entropy: Column
    small_margin: Column
    small_top: Column
    rank: Column
    """Place of the large model's token in the small one's list, 0 for the first, at most `RANKS`."""
    surprise: Column
    """Nats, -log p of the small model's likeliest token under the large model (BiLD)."""
    distance: Column
    """Total variation between both rows (speculative cascades)."""
    large_ids: Column
    """The large model's likeliest tokens, likeliest first."""
    large_list: Column
    """Their probabilities; likewise the small model's."""
    small_ids: Column
    small_list: Column

    @property
    def agrees(self) -> NDArray[np.bool_]:
        """Where the small model alone would have written the same token."""
        result: NDArray[np.bool_] = self.rank == 0
        return result

    def signals(self, role: Role) -> ListedSignals:
        """What one of the two models said at every position of the answer."""
        if role == "large":
            return ListedSignals(self.large_entropy, self.large_ids, self.large_list)
        return ListedSignals(self.small_entropy, self.small_ids, self.small_list)

    def __len__(self) -> int:
        return len(self.tokens)


def record(engines: Engines, prompt: Sequence[int], answer: Sequence[int]) -> Record:
    """Both models' rows on an answer of at least one token. One model alone: as if the small one agreed everywhere.

    The engines' sequences hold prompt and answer afterwards, the last token unread. Raises EngineError.
    """
    large = score(engines["large"], prompt, answer)
    small = score(engines["small"], prompt, answer) if "small" in engines else large
    rows = range(len(answer))
    lists = [[scores.top(row, LISTED) for row in rows] for scores in (large, small)]
    chosen = [large.probability(row, answer[row]) for row in rows]
    first = [small.argmax(row) for row in rows]
    return Record(
        prompt_tokens=len(prompt),
        tokens=tuple(answer),
        large_entropy=np.array([large.entropy(row) for row in rows]),
        large_margin=np.array([large.margin(row) for row in rows]),
        large_top=np.array([large.probability(row, large.argmax(row)) for row in rows]),
        large_chosen=np.array(chosen),
        small_entropy=np.array([small.entropy(row) for row in rows]),
        small_margin=np.array([small.margin(row) for row in rows]),
        small_top=np.array([small.probability(row, first[row]) for row in rows]),
        rank=np.array([_rank(small, row, answer[row]) for row in rows], dtype=np.float64),
        surprise=np.array([_surprise(large.probability(row, first[row])) for row in rows]),
        distance=np.array([_distance(large, small, row) for row in rows]),
        large_ids=_column(lists[0], 0),
        large_list=_column(lists[0], 1),
        small_ids=_column(lists[1], 0),
        small_list=_column(lists[1], 1),
    )


def score(engine: Engine, prompt: Sequence[int], answer: Sequence[int]) -> Scores:
    """One row for each token of the answer, in one batch after the prompt."""
    kept = len(prompt) - 1
    engine.rewind(0)
    if kept:
        engine.forward(prompt[:kept], rows=0)
    return engine.forward([prompt[-1], *answer[:-1]], rows=len(answer))


def own_nats(scores: Scores, answer: Sequence[int]) -> float:
    """Mean -log p of the answer's tokens, nats: the logarithm of its perplexity."""
    return sum(_surprise(scores.probability(i, token)) for i, token in enumerate(answer)) / max(
        1, len(answer)
    )


def to_data(thing: Record | Answer) -> dict[str, Any]:
    """Plain data, for the journal."""
    data: dict[str, Any] = {}
    for field in fields(thing):
        value = getattr(thing, field.name)
        if isinstance(value, np.ndarray):
            value = value.round(DIGITS).tolist()
        data[field.name] = list(value) if isinstance(value, tuple) else value
    return data


def record_from(data: dict[str, Any]) -> Record:
    """A record from plain data. Raises ValueError, TypeError or KeyError when it is none."""
    tokens = tuple(int(token) for token in data["tokens"])
    columns = {
        field.name: np.array(data[field.name], dtype=np.float64)
        for field in fields(Record)
        if field.name not in ("prompt_tokens", "tokens")
    }
    if not tokens or any(column.shape[:1] != (len(tokens),) for column in columns.values()):
        raise ValueError("columns of different lengths")
    if any(column.ndim != (2 if name in _LISTS else 1) for name, column in columns.items()):
        raise ValueError("a column and a list are confused")
    for role in ("large", "small"):
        ids, chances = columns[f"{role}_ids"], columns[f"{role}_list"]
        if ids.shape != chances.shape or ids.shape[1] < 1 or ids.min() < 0:
            raise ValueError("a list is none")
    return Record(prompt_tokens=int(data["prompt_tokens"]), tokens=tokens, **columns)


def answer_from(data: dict[str, Any]) -> Answer:
    """An answer from plain data. Raises ValueError, TypeError or KeyError when it is none."""
    right = data["right"]
    if not (right is None or isinstance(right, bool)):
        raise ValueError("right is neither true, false nor unknown")
    tokens = tuple(int(token) for token in data["tokens"])
    return Answer(tokens, str(data["text"]), float(data["ms"]), right)


def _column(lists: Sequence[Sequence[tuple[int, float]]], part: int) -> Column:
    """Ids or probabilities of lists; a row with fewer tokens than others (the rest is impossible) repeats its last one."""
    longest = max(len(row) for row in lists)
    return np.array(
        [[row[min(place, len(row) - 1)][part] for place in range(longest)] for row in lists],
        dtype=np.float64,
    )


def _rank(scores: Scores, row: int, token: int) -> int:
    if scores.argmax(row) == token:
        return 0
    logits = scores.row(row)
    return min(RANKS, max(1, int((logits > logits[token]).sum())))


def _surprise(probability: float) -> float:
    # -log of nothing is not data that a file can hold; 64 nats are out of every rule's reach
    return min(64.0, -float(np.log(probability))) if probability > 0 else 64.0


def _distance(large: Scores, small: Scores, row: int) -> float:
    return total_variation(_law(large, row), _law(small, row)) if large is not small else 0.0


def _law(scores: Scores, row: int) -> Column:
    logits = scores.row(row).astype(np.float64)
    weights = np.exp(logits - logits.max())
    result: Column = weights / weights.sum()
    return result
