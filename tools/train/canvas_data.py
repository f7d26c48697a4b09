"""Batches for a canvas model: a prompt, then a reply that the end token fills up, partly masked.

A row is filled to its end, so that no position is padding and attention needs no mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from random import Random
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from adec.practice.tasks import TRAINING, Problem, problems
from tools.train.tokenizer import END_ID, encode

if TYPE_CHECKING:
    from tokenizers import Tokenizer

LENGTHS = (32, 48, 64, 96, 128, 192)  # of rows
SHORTEST, LONGEST = 12, 160  # of canvases
ROOMY = 0.3  # share of problems whose canvas is longer than it must be
CHATS = 0.03  # share of problems that continue the chat of the one before
CHUNK = 4096  # problems that are sorted into rectangles and shuffled together
TOKENS = 1536  # tokens of a rectangle
MIX = MappingProxyType({"word problems": 0.42, "lists": 0.32, "functions": 0.12, "lookup": 0.14})


@dataclass(frozen=True, slots=True)
class MaskedBatch:
    """A rectangle with masks in it, and the flat positions of the masks.

    `weights` of the masked positions are 1 / (share masked x length of the canvas); over a batch of
    n rows the loss sums to n times the mean over positions.
    """

    tokens: Tensor
    rows: Tensor
    targets: Tensor
    weights: Tensor


@dataclass(frozen=True, slots=True)
class Filled:
    """Ids of a prompt and a canvas that the end token fills up."""

    ids: list[int]
    start: int
    """Where the canvas begins."""


def masked_chunk(
    tokenizer: Tokenizer, seed: int, index: int, size: int = CHUNK, tokens: int = TOKENS
) -> list[MaskedBatch]:
    """The batches of one chunk; the same arguments give the same batches."""
    rng = Random(f"canvas {seed} {index}")
    stream = problems("train", rng.getrandbits(48), mix=MIX, makers=TRAINING)
    by_length: dict[int, list[Filled]] = {}
    for row in _rows(rng, tokenizer, islice(stream, size)):
        by_length.setdefault(len(row.ids), []).append(row)
    batches = []
    for length, rows in sorted(by_length.items()):
        height = max(1, tokens // length)
        for start in range(0, len(rows) - height + 1, height):
            batches.append(mask_rows(rng, rows[start : start + height], tokenizer))
    rng.shuffle(batches)
    return batches


def mask_rows(
    rng: Random, rows: list[Filled], tokenizer: Tokenizer, share: float | None = None
) -> MaskedBatch:
    """Mask a share of each canvas; by default those of a batch are spread evenly over (0, 1]."""
    mask = mask_id(tokenizer)
    length = len(rows[0].ids)
    tokens = torch.tensor([row.ids for row in rows])
    positions: list[int] = []
    weights: list[float] = []
    first = rng.random()
    for at, row in enumerate(rows):
        canvas = length - row.start
        own = share or 1.0 - (first + at / len(rows)) % 1.0
        count = max(1, round(own * canvas))
        positions += [
            at * length + row.start + place for place in sorted(rng.sample(range(canvas), count))
        ]
        weights += [1.0 / count] * count
    flat = torch.tensor(positions)
    targets = tokens.flatten()[flat]
    tokens = tokens.flatten().index_fill(0, flat, mask).view(len(rows), length)
    return MaskedBatch(tokens, flat, targets, torch.tensor(weights))


def fill_up(ids: list[int], start: int, rng: Random | None = None) -> Filled | None:
    """A row of the shortest length, or sometimes, with `rng`, of a greater one.

    `start` is where the reply begins. None when no length suits.
    """
    fits = [
        length for length in LENGTHS if length >= len(ids) and SHORTEST <= length - start <= LONGEST
    ]
    if not fits:
        return None
    length = rng.choice(fits) if rng is not None and rng.random() < ROOMY else fits[0]
    return Filled(ids + [END_ID] * (length - len(ids)), start)


def mask_id(tokenizer: Tokenizer) -> int:
    """The id of the mask token, which follows the vocabulary of the pair."""
    return int(tokenizer.get_vocab_size(with_added_tokens=True)) - 1


def _rows(rng: Random, tokenizer: Tokenizer, stream: Iterator[Problem]) -> Iterator[Filled]:
    before: list[int] = []
    for ids, start in encode(tokenizer, stream):
        if before and len(before) + len(ids) <= LENGTHS[-1]:
            ids, start = before + ids, len(before) + start
        before = ids if rng.random() < CHATS else []
        row = fill_up(ids, start, rng)
        if row is not None:
            yield row
