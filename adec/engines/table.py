"""A model given by a function from prefix to distribution: exact, tiny, for tests in milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from adec.engines.base import Capability, ModelInfo, OpenOptions
from adec.engines.checks import check_feed, check_growth, check_rewind, check_room
from adec.engines.vocabulary import Tokenizer, Vocabulary
from adec.errors import EngineError
from adec.signals import ArrayScores, Scores
from adec.tree import ROOT, TokenTree

Law = Callable[[tuple[int, ...]], Sequence[float]]
"""From a prefix to the probabilities of the next token, shape (vocabulary,)."""


class TableEngine:
    """An engine whose next-token distribution is `law(prefix)`.

    The default vocabulary is one character a token, from "a" on, the last one ending an answer. `fed`
    lists the tokens of every forward, so that a test can see what a strategy really read.
    """

    def __init__(
        self,
        law: Law,
        *,
        size: int,
        name: str = "table",
        vocabulary: Vocabulary | None = None,
        context: int = 4096,
        capabilities: frozenset[Capability] = frozenset({"rewind", "tree"}),
    ) -> None:
        self._law = law
        self.vocabulary = vocabulary or letters(size)
        self.tokenizer: Tokenizer = _LetterTokenizer(self.vocabulary)
        self.info = ModelInfo(
            name=name,
            path=Path(name),
            format="table",
            architecture="table",
            layers=1,
            parameters=size,
            vocabulary=size,
            context_limit=context,
            bytes=0,
            quantisation="exact",
        )
        self.capabilities = capabilities
        self.context = context
        self.branches = OpenOptions().branches
        self.fed: list[list[int]] = []
        self._tokens: list[int] = []
        self._tree: TokenTree | None = None
        self._closed = False

    @property
    def length(self) -> int:
        return len(self._tokens)

    @property
    def tokens(self) -> tuple[int, ...]:
        """The sequence itself; only this engine can tell."""
        return tuple(self._tokens)

    def forward(self, tokens: Sequence[int], *, rows: int = 1) -> Scores:
        self._ready()
        check_feed(self, tokens, rows)
        start = len(self._tokens)
        self._tokens.extend(tokens)
        self.fed.append(list(tokens))
        ends = range(start + len(tokens) - rows + 1, start + len(tokens) + 1)
        return self._scores([tuple(self._tokens[:end]) for end in ends])

    def forward_tree(self, tree: TokenTree, *, first_row: int = 0) -> Scores:
        self._open()
        if "tree" not in self.capabilities:
            raise EngineError(f"{self.info.name} runs no token trees")
        known = check_growth(self._tree, tree, first_row)
        check_feed(self, tree.tokens, len(tree) - first_row)
        prefixes: list[tuple[int, ...]] = []
        for token, parent in zip(tree.tokens, tree.parents, strict=True):
            above = self.tokens if parent == ROOT else prefixes[parent]
            prefixes.append((*above, token))
        self._tree = replace(tree, tokens=list(tree.tokens), parents=list(tree.parents))
        self.fed.append(tree.tokens[known:])
        return self._scores(prefixes[first_row:])

    def keep(self, path: Sequence[int]) -> None:
        self._open()
        if self._tree is None:
            raise EngineError("keep without a pending tree")
        try:
            self._tree.check_path(path)
        except ValueError as error:
            raise EngineError(str(error)) from error
        check_room(self, len(path))
        self._tokens.extend(self._tree.tokens[node] for node in path)
        self._tree = None

    def rewind(self, length: int) -> None:
        self._open()
        check_rewind(self, length)
        if length < len(self._tokens) and length > 0 and "rewind" not in self.capabilities:
            raise EngineError(f"{self.info.name} cannot be rewound")
        self._tree = None
        del self._tokens[length:]

    def close(self) -> None:
        self._closed = True

    def _scores(self, prefixes: Sequence[tuple[int, ...]]) -> Scores:
        rows = np.array([self._law(prefix) for prefix in prefixes], dtype=np.float64)
        with np.errstate(divide="ignore"):
            logits = np.log(rows.reshape(len(prefixes), len(self.vocabulary)))
        return ArrayScores(logits.astype(np.float32))

    def _open(self) -> None:
        if self._closed:
            raise EngineError(f"{self.info.name} is closed")

    def _ready(self) -> None:
        self._open()
        if self._tree is not None:
            raise EngineError("a tree is pending: keep a path or rewind first")


def letters(size: int) -> Vocabulary:
    """A vocabulary of `size` one-character tokens from "a" on; the last is the end token."""
    pieces = tuple(chr(ord("a") + i).encode() for i in range(size - 1))
    end = size - 1
    return Vocabulary("table", (*pieces, b"<end>"), control=frozenset({end}), end=frozenset({end}))


class _LetterTokenizer:
    def __init__(self, vocabulary: Vocabulary) -> None:
        self._ids = {
            piece.decode("latin-1"): token for token, piece in enumerate(vocabulary.pieces)
        }

    def encode(self, text: str, *, special: bool) -> list[int]:
        del special  # no letter is the name of a control token
        unknown = [letter for letter in text if letter not in self._ids]
        if unknown:
            raise EngineError(f"the table's vocabulary has no {unknown[0]!r}")
        return [self._ids[letter] for letter in text]
