"""A model given by a function from prefix to distribution: exact and tiny, for tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adec.engines.base import Capability, ModelHeader, ModelInfo, OpenOptions
from adec.engines.sequence import EmbedSequence
from adec.engines.vocabularies.vocabulary import Vocabulary
from adec.errors import EngineError
from adec.signals import ArrayScores, Scores
from adec.tree import ROOT, TokenTree

Law = Callable[[tuple[int, ...]], Sequence[float]]
"""Maps a prefix to the probabilities of the next token, shape (vocabulary,)."""


class TableEngine(EmbedSequence):
    """An engine whose next-token distribution is `law(prefix)`.

    In the default vocabulary a token is one character, from "a" on; the last one ends an answer.
    `fed` lists the tokens of every forward, so that a test can see what a strategy really read. A
    token's embedding is its id; what other vectors say is up to the law, which sees their number.
    """

    def __init__(
        self,
        law: Law,
        *,
        size: int,
        name: str = "table",
        vocabulary: Vocabulary | None = None,
        context: int = 4096,
        layers: int = 1,
        capabilities: frozenset[Capability] = frozenset({"rewind", "tree", "vectors"}),
    ) -> None:
        spoken = vocabulary or letters(size)
        info = ModelInfo(
            name=name,
            path=Path(name),
            format="table",
            architecture="table",
            layers=layers,
            parameters=size,
            vocabulary=size,
            context_limit=context,
            bytes=0,
            quantisation="exact",
        )
        super().__init__(
            ModelHeader(info, spoken, capabilities),
            LetterTokenizer(spoken),
            context=context,
            branches=OpenOptions().branches,
        )
        self._law = law
        self.fed: list[list[int]] = []
        self._tokens: list[int] = []

    @property
    def tokens(self) -> tuple[int, ...]:
        """The sequence itself."""
        return tuple(self._tokens)

    @property
    def width(self) -> int:
        """An embedding is one number."""
        return 1

    def embeddings(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """See `EmbedEngine.embeddings`."""
        self._check_ids(tokens)
        return np.array(tokens, dtype=np.float32).reshape(-1, 1)

    def _append(self, tokens: Sequence[int], rows: int) -> Scores:
        self._tokens.extend(tokens)
        self.fed.append(list(tokens))
        ends = range(len(self._tokens) - rows + 1, len(self._tokens) + 1)
        return self._scores([tuple(self._tokens[:end]) for end in ends])

    def _append_tree(self, tree: TokenTree, known: int, first_row: int) -> Scores:
        prefixes: list[tuple[int, ...]] = []
        for node, (token, parent) in enumerate(zip(tree.tokens, tree.parents, strict=True)):
            if node in self._vectors:
                token = round(float(self._vectors[node][0]))
            above = self.tokens if parent == ROOT else prefixes[parent]
            prefixes.append((*above, token))
        self.fed.append(tree.tokens[known:])
        return self._scores(prefixes[first_row:])

    def _keep(self, tree: TokenTree, path: Sequence[int]) -> None:
        self._tokens.extend(tree.tokens[node] for node in path)

    def _cut(self, length: int) -> None:
        del self._tokens[length:]

    def _restore(self, length: int) -> bool:
        self._cut(length)
        return True

    def _free(self) -> None:
        pass

    def _scores(self, prefixes: Sequence[tuple[int, ...]]) -> Scores:
        rows = np.array([self._law(prefix) for prefix in prefixes], dtype=np.float64)
        with np.errstate(divide="ignore"):
            logits = np.log(rows.reshape(len(prefixes), len(self.vocabulary)))
        return ArrayScores(logits.astype(np.float32))


def letters(size: int) -> Vocabulary:
    """A vocabulary of one-character tokens from "a" on, and an end token as the last of `size`."""
    pieces = tuple(chr(ord("a") + i).encode() for i in range(size - 1))
    end = size - 1
    return Vocabulary("table", (*pieces, b"<end>"), control=frozenset({end}), end=frozenset({end}))


class LetterTokenizer:
    """Characters to ids, for vocabularies of one-letter tokens."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._ids = {
            piece.decode("latin-1"): token for token, piece in enumerate(vocabulary.pieces)
        }

    def encode(self, text: str, *, special: bool) -> list[int]:
        del special  # no control token has a one-letter name
        unknown = [letter for letter in text if letter not in self._ids]
        if unknown:
            raise EngineError(f"the table's vocabulary has no {unknown[0]!r}")
        return [self._ids[letter] for letter in text]
