"""The large model's own answers, and what both models say of every position of them.

The large model answers once, token by token. Then each model reads the answer in one batch: row t
of both predicts token t, on the large model's path. `simulate` runs strategies on these records.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from adec.engines.base import Engine
from adec.engines.pair import Engines
from adec.engines.protocols import ReadsAhead
from adec.events.hostile_json import Count
from adec.signals import Scores

Column = NDArray[np.float64]

RANKS = 64
"""Highest rank that is told apart: a draft that far down the list is hopeless anyway."""
LISTED = 8
"""Likeliest tokens of each model that are kept: all that a tree of drafts may look at."""
DIGITS = 6
"""Digits behind the point that are kept."""
FARTHEST = 64.0
"""Nats of a token of probability 0: beyond every rule's reach, and a number that JSON has."""


@dataclass(frozen=True)
class Answer:
    """The large model's own answer to a prompt."""

    tokens: tuple[Count, ...]
    text: str
    ms: float
    """Decoding time, without the prompt and the first token."""
    right: bool | None = None
    worker: str = ""
    """Who gave it, where that was not this process: its time is none of this machine."""
    first_ms: float = 0.0
    """What the prompt took, where `ms` holds it: of a server, the whole first request."""


@dataclass(frozen=True)
class Record:
    """One answer position by position.

    Every column has one entry a token; `*_ids` and `*_list` have rows of up to LISTED tokens,
    likeliest first. Entropies and surprise are in nats, probabilities at temperature 1.
    """

    prompt_tokens: Count
    tokens: tuple[Count, ...]
    large_entropy: list[float]
    large_margin: list[float]
    large_top: list[float]
    """Probability of the large model's likeliest token."""
    large_chosen: list[float]
    """Probability, under the large model, of the token that it wrote."""
    small_entropy: list[float]
    small_margin: list[float]
    small_top: list[float]
    rank: list[float]
    """Place of the large model's token in the small one's list, 0 to RANKS."""
    surprise: list[float]
    """-log p of the small model's likeliest token under the large model (BiLD)."""
    distance: list[float]
    """Total variation between both rows (speculative cascades)."""
    large_ids: list[list[float]]
    large_list: list[list[float]]
    """Probabilities of `large_ids`; likewise of the small model."""
    small_ids: list[list[float]]
    small_list: list[list[float]]

    def __post_init__(self) -> None:
        """Raises ValueError unless the columns belong together."""
        columns = [getattr(self, field.name) for field in fields(self)[2:]]
        if not self.tokens or any(len(column) != len(self.tokens) for column in columns):
            raise ValueError("columns of different lengths")
        for ids, chances in (
            (self.large_ids, self.large_list),
            (self.small_ids, self.small_list),
        ):
            if not all(map(_is_list, ids, chances)):
                raise ValueError("ids and probabilities of a row do not belong together")

    @property
    def agrees(self) -> NDArray[np.bool_]:
        """Where the small model alone would have written the same token."""
        result: NDArray[np.bool_] = np.array(self.rank) == 0
        return result

    @property
    def highest_id(self) -> int:
        """The highest token id in it."""
        return int(max(map(max, (*self.large_ids, *self.small_ids, self.tokens))))

    def __len__(self) -> int:
        return len(self.tokens)


def record(engines: Engines, prompt: Sequence[int], answer: Sequence[int]) -> Record:
    """Both models' rows on an answer of at least one token.

    With one model alone: as if a small one agreed everywhere. The engines' sequences hold prompt
    and answer afterwards, the last token unread. Raises EngineError.
    """
    large = score(engines["large"], prompt, answer)
    small = score(engines["small"], prompt, answer) if "small" in engines else large
    rows = range(len(answer))
    large_lists = [large.top(row, LISTED) for row in rows]
    small_lists = [small.top(row, LISTED) for row in rows]
    first = [listed[0][0] for listed in small_lists]
    return Record(
        prompt_tokens=len(prompt),
        tokens=tuple(answer),
        large_entropy=_rounded(large.entropy(row) for row in rows),
        large_margin=_rounded(large.margin(row) for row in rows),
        large_top=_rounded(listed[0][1] for listed in large_lists),
        large_chosen=_rounded(large.probability(row, answer[row]) for row in rows),
        small_entropy=_rounded(small.entropy(row) for row in rows),
        small_margin=_rounded(small.margin(row) for row in rows),
        small_top=_rounded(listed[0][1] for listed in small_lists),
        rank=_rounded(_rank(small, row, answer[row]) for row in rows),
        surprise=_rounded(_surprise(large.probability(row, first[row])) for row in rows),
        distance=_rounded(
            large.distance(row, small, row) if large is not small else 0.0 for row in rows
        ),
        large_ids=[[float(token) for token, _ in listed] for listed in large_lists],
        large_list=[_rounded(chance for _, chance in listed) for listed in large_lists],
        small_ids=[[float(token) for token, _ in listed] for listed in small_lists],
        small_list=[_rounded(chance for _, chance in listed) for listed in small_lists],
    )


def score(engine: Engine, prompt: Sequence[int], answer: Sequence[int]) -> Scores:
    """One row for each token of the answer, in one batch after the prompt.

    Of a server none is bought twice: rows that came with the answer are taken as they are.
    """
    if isinstance(engine, ReadsAhead):
        known = engine.known_rows([*prompt, *answer[:-1]], len(answer))
        if known is not None:
            return known
        engine.expect(len(answer))
    kept = len(prompt) - 1
    engine.rewind(0)
    if kept:
        engine.forward(prompt[:kept], rows=0)
    return engine.forward([prompt[-1], *answer[:-1]], rows=len(answer))


def own_nats(scores: Scores, answer: Sequence[int]) -> float:
    """Mean -log p of the answer's tokens in nats: the logarithm of its perplexity."""
    total = sum(_surprise(scores.probability(i, token)) for i, token in enumerate(answer))
    return total / max(1, len(answer))


def _is_list(ids: Sequence[float], chances: Sequence[float]) -> bool:
    return len(ids) == len(chances) > 0 and min(ids) >= 0


def _rank(scores: Scores, row: int, token: int) -> int:
    if scores.argmax(row) == token:
        return 0
    logits = scores.row(row)
    return min(RANKS, max(1, int((logits > logits[token]).sum())))


def _surprise(probability: float) -> float:
    return min(FARTHEST, -math.log(probability)) if probability > 0 else FARTHEST


def _rounded(values: Iterable[float]) -> list[float]:
    return [round(float(value), DIGITS) for value in values]
