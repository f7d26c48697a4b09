"""Batches for a canvas model: a prompt, then a reply that the end token fills up, partly masked.

A row is filled to its end, so that no position is padding and attention needs no mask. A row that
is a state of decoding may end behind its block at work: a canvas that is too short grows by blocks.
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
from tools.train.canvas_masks import as_decoded, spread
from tools.train.tokenizer import END_ID, encode

if TYPE_CHECKING:
    from tokenizers import Tokenizer

LENGTHS = (32, 48, 64, 80, 96, 112, 128, 160, 192)  # of rows
SHORTEST, LONGEST = 12, 160  # of canvases
ROOMY = 0.2  # share of problems whose canvas is longer than it must be
CHATS = 0.03  # share of problems that continue the chat of the one before
STATES = 0.85  # share of rows that are states of decoding
BLOCKS = (16, 32, 32)  # their block lengths
CHUNK = 4096  # problems that are sorted into rectangles and shuffled together
TOKENS = 1536  # tokens of a rectangle
# more of what lags: word problems by far
MIX = MappingProxyType({"word problems": 0.62, "lists": 0.14, "functions": 0.06, "lookup": 0.18})
SHORT = 0.85  # share of long problems with calculations that are left out for short ones
RESULTS = 0.8  # share of states, where there are calculations, whose next token is of a result


@dataclass(frozen=True, slots=True)
class MaskedBatch:
    """A rectangle with masks in it, and the flat positions of those that are learned.

    `weights` of a row's positions add up to one.
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
    block: range | None = None
    """The block at work, in offsets of the canvas, where the row is a state of decoding."""
    first: int | None = None
    """The first position that does not stand, if that is settled."""


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
    """Mask states of decoding as such, and of other canvases a share.

    By default the shares of a batch are spread evenly over (0, 1].
    """
    mask, digits = mask_id(tokenizer), digit_ids(tokenizer)
    length = len(rows[0].ids)
    tokens = torch.tensor([row.ids for row in rows])
    hidden: list[int] = []
    learned: list[int] = []
    weights: list[float] = []
    first = rng.random()
    for at, row in enumerate(rows):
        canvas = row.ids[row.start :]
        if row.block is None or share is not None:
            own = share or 1.0 - (first + at / len(rows)) % 1.0
            masks = spread(rng, len(canvas), own)
        else:
            masks = as_decoded(rng, canvas, row.block, digits, row.first)
        begin = at * length + row.start
        hidden += [begin + place for place in masks.hidden]
        learned += [begin + place for place in masks.learned]
        weights += masks.weights
    flat = torch.tensor(learned)
    targets = tokens.flatten()[flat]
    tokens = tokens.flatten().index_fill(0, torch.tensor(hidden), mask).view(len(rows), length)
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


def cut_state(rng: Random, ids: list[int], start: int, results: list[int]) -> Filled | None:
    """A row in which one of the reply's blocks is at work; what lies far behind may be missing.

    `results`: indices of digits that must be calculated; mostly one of them comes next.
    """
    size = rng.choice(BLOCKS)
    first = None
    if results and rng.random() < RESULTS:
        first = rng.choice(results) - start
        begin = first // size * size
    else:
        begin = rng.randrange(start, len(ids), size) - start
    row = fill_up(ids[: start + begin + size], start, rng)
    if row is None:
        return None
    whole = (ids + [END_ID] * len(row.ids))[: len(row.ids)]
    return Filled(whole, start, range(begin, min(begin + size, len(whole) - start)), first)


def results_in(ids: list[int], start: int, digits: frozenset[int], equals: int) -> list[int]:
    """Indices of the digits that follow an equals sign."""
    found: list[int] = []
    for at in range(start + 1, len(ids)):
        begins = at >= 2 and ids[at - 2] == equals and ids[at - 1] not in digits  # a space between
        if ids[at] in digits and (begins or ids[at - 1] == equals or at - 1 in found[-1:]):
            found.append(at)
    return found


def mask_id(tokenizer: Tokenizer) -> int:
    """The id of the mask token, which follows the vocabulary of the pair."""
    return int(tokenizer.get_vocab_size(with_added_tokens=True)) - 1


def digit_ids(tokenizer: Tokenizer) -> frozenset[int]:
    """The ids of the ten digits."""
    return frozenset(id_of(tokenizer, digit) for digit in "0123456789")


def id_of(tokenizer: Tokenizer, token: str) -> int:
    """The id of a token that the vocabulary has."""
    found = tokenizer.token_to_id(token)
    assert found is not None, token
    return int(found)


def _rows(rng: Random, tokenizer: Tokenizer, stream: Iterator[Problem]) -> Iterator[Filled]:
    digits, equals = digit_ids(tokenizer), id_of(tokenizer, "Ġ=")
    before: list[int] = []
    for ids, start in encode(tokenizer, stream):
        results = results_in(ids, start, digits, equals)
        if results and len(ids) > LENGTHS[2] and rng.random() < SHORT:
            continue
        shift = len(before)
        if before and shift + len(ids) <= LENGTHS[-1]:
            ids, start = before + ids, shift + start
            results = [shift + at for at in results]
        before = ids if rng.random() < CHATS else []
        if rng.random() < STATES:
            row = cut_state(rng, ids, start, results)
        else:
            row = fill_up(ids, start, rng)
        if row is not None:
            yield row
