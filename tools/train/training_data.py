"""Batches of training problems, in rectangles of few shapes, so that compiled code is reused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from random import Random
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from adec.practice.tasks import FAMILIES, MIX, TRAINING, Problem, problems
from tools.train.tokenizer import PAD_ID, encode

if TYPE_CHECKING:
    from tokenizers import Tokenizer

LENGTHS = (24, 32, 48, 64, 96, 128, 192)
CHUNK = 16_384  # problems that are sorted into rectangles and shuffled together
TOKENS = 4096  # tokens of a rectangle
CHATS = 0.03  # share of problems that continue the chat of the one before


@dataclass(frozen=True, slots=True)
class Stage:
    """The data of a part of the training."""

    mix: Mapping[str, float]
    even: bool = True  # all tokens weigh the same; else 1 / sqrt(length of the reply)
    rare: frozenset[str] = frozenset()  # kinds of which seven in ten are dropped
    plain: float = 0.0  # share of lookups whose facts are worded alike in prompt and reply
    asked: bool = False  # only kinds that are asked in the end, without those that help to learn


FIRST = Stage(MIX)
# once calculations and code are mostly learned, more of what lags
LATE = Stage(
    MappingProxyType({"word problems": 0.22, "lists": 0.40, "functions": 0.10, "lookup": 0.28}),
    even=False,
)
LAST = Stage(
    MappingProxyType({"word problems": 0.14, "lists": 0.38, "functions": 0.05, "lookup": 0.43}),
    even=False,
    rare=frozenset({"sort", "reverse", "shuffle"}),
    plain=0.65,
)
# for models that begin with the large one's weights: to find a value by its name lags most
RECALL = Stage(
    MappingProxyType({"word problems": 0.20, "lists": 0.26, "functions": 0.06, "lookup": 0.48}),
    even=False,
    rare=frozenset({"sort", "reverse", "shuffle"}),
    asked=True,
)


@dataclass(frozen=True, slots=True)
class Batch:
    """A rectangle of tokens, and the flat positions whose next token is learned."""

    tokens: Tensor
    rows: Tensor
    targets: Tensor
    weights: Tensor


def chunk(
    tokenizer: Tokenizer, seed: int, index: int, size: int = CHUNK, stage: Stage = FIRST,
    tokens: int = TOKENS,
) -> list[Batch]:  # fmt: skip
    """The batches of one chunk, each of about `tokens`; the same arguments give the same ones."""
    rng = Random(f"chunk {seed} {index}")
    makers = FAMILIES if stage.asked else TRAINING
    stream = problems("train", rng.getrandbits(48), mix=stage.mix, makers=makers)
    if stage.rare or stage.plain:
        stream = _chosen(rng, stream, stage)
    encoded = encode(tokenizer, islice(stream, size))
    by_length: dict[int, list[tuple[list[int], list[int]]]] = {}
    for ids, learned in _chats(rng, encoded):
        length = next((length for length in LENGTHS if length > len(ids) - 1), None)
        if length is not None:
            by_length.setdefault(length, []).append((ids, learned))
    batches = []
    for length, rows in sorted(by_length.items()):
        height = tokens // length
        for start in range(0, len(rows) - height + 1, height):
            batches.append(_rectangle(rows[start : start + height], length, stage.even))
    rng.shuffle(batches)
    return batches


def _chosen(rng: Random, stream: Iterator[Problem], stage: Stage) -> Iterator[Problem]:
    lookups = problems("train", rng.getrandbits(48), ["lookup"], makers=TRAINING)
    plain = filter(_is_plain, lookups)
    for problem in stream:
        if problem.kind in stage.rare and rng.random() >= 0.3:
            continue
        if problem.family == "lookup" and rng.random() < stage.plain:
            problem = next(plain)
        yield problem


def _is_plain(problem: Problem) -> bool:
    facts = problem.solution.partition(" Answer:")[0].split(". ")
    return problem.prompt.count(".") <= 6 and all(
        fact.removesuffix(".") in problem.prompt for fact in facts
    )


def rectangles(
    encoded: list[tuple[list[int], int]], height: int
) -> Iterator[tuple[list[int], Batch]]:
    """Every problem once, sorted by length, with its index; for evaluation."""
    order = sorted(range(len(encoded)), key=lambda index: len(encoded[index][0]))
    for start in range(0, len(order), height):
        indices = order[start : start + height]
        rows = [_learned(*encoded[index]) for index in indices]
        yield indices, _rectangle(rows, max(len(ids) for ids, _ in rows))


def _learned(ids: list[int], start: int) -> tuple[list[int], list[int]]:
    return ids, list(range(start - 1, len(ids) - 1))


def _chats(
    rng: Random, encoded: list[tuple[list[int], int]]
) -> Iterator[tuple[list[int], list[int]]]:
    pending: tuple[list[int], list[int]] | None = None
    for ids, start in encoded:
        ids, learned = _learned(ids, start)
        if pending is not None:
            shift = len(pending[0])
            if shift + len(ids) <= LENGTHS[-1]:
                ids = pending[0] + ids
                learned = pending[1] + [shift + position for position in learned]
            else:
                yield pending
            pending = None
        if rng.random() < CHATS:
            pending = ids, learned
        else:
            yield ids, learned
    if pending is not None:
        yield pending


def _rectangle(rows: list[tuple[list[int], list[int]]], length: int, even: bool = True) -> Batch:
    tokens = torch.full((len(rows), length), PAD_ID)
    positions, targets, weights = [], [], []
    for row, (ids, learned) in enumerate(rows):
        kept = ids[:length]
        tokens[row, : len(kept)] = torch.tensor(kept)
        positions += [row * length + position for position in learned]
        targets += [ids[position + 1] for position in learned]
        weights += [1.0 if even else len(learned) ** -0.5] * len(learned)
    return Batch(tokens, torch.tensor(positions), torch.tensor(targets), torch.tensor(weights))
