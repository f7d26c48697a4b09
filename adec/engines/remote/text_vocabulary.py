"""A vocabulary for servers whose tokens nobody here knows: ids are handed out as pieces arrive."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from adec.engines.vocabularies.vocabulary import Vocabulary
from adec.errors import EngineError

MOST = 1 << 20
"""Pieces that are told apart."""
END = 0
_WORD = re.compile(r"\s*\S+|\s+")


class GrowingPieces(tuple[bytes, ...]):
    """Pieces by id, of which there are more with every text that is read. Id 0 ends an answer."""

    def __new__(cls) -> GrowingPieces:
        return super().__new__(cls)

    def __init__(self) -> None:
        self._pieces: list[bytes] = [b""]
        self._ids: dict[bytes, int] = {}

    def id_of(self, piece: bytes) -> int:
        """The id of a piece, a new one if need be. Raises EngineError when there are too many."""
        if piece not in self._ids:
            if len(self._pieces) >= MOST:
                raise EngineError(f"the server has written more than {MOST:,} different pieces")
            self._ids[piece] = len(self._pieces)
            self._pieces.append(piece)
        return self._ids[piece]

    def __len__(self) -> int:
        return len(self._pieces)

    def __getitem__(self, index: Any) -> Any:
        found = self._pieces[index]
        return tuple(found) if isinstance(index, slice) else found

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


class WordTokenizer:
    """Splits a text into words, each with the blanks before it."""

    def __init__(self, pieces: GrowingPieces) -> None:
        self._pieces = pieces

    def encode(self, text: str, *, special: bool) -> list[int]:
        """See `Tokenizer.encode`: the server itself finds control tokens in a text."""
        words = _WORD.findall(text)
        return [self._pieces.id_of(word.encode("utf-8", "replace")) for word in words]


def text_vocabulary(
    chat_template: str | None, special: Mapping[str, str]
) -> tuple[Vocabulary, WordTokenizer]:
    """A vocabulary that grows, and the tokenizer that fills it."""
    pieces = GrowingPieces()
    vocabulary = Vocabulary(
        "text",
        pieces,
        control=frozenset({END}),
        end=frozenset({END}),
        chat_template=chat_template,
        # the server puts its begin token before a text by itself
        special={**special, "bos_token": ""},
    )
    return vocabulary, WordTokenizer(pieces)
