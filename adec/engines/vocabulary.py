"""The tokens a model speaks, as its file declares them; read without loading weights."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol


@dataclass(frozen=True)
class Vocabulary:
    """Everything that must agree before two models may share token ids.

    `pieces[i]` are the raw bytes that token i adds to a text (a byte-level token may hold part of a
    character); control tokens have the bytes of their name. `kind` is the tokenizer's algorithm in llama.cpp's words
    ("gpt2" for byte-level BPE, "llama" for SentencePiece BPE, "bert", "t5", …), `pre_tokenizer` its splitting rule
    where known.
    """

    kind: str
    pieces: tuple[bytes, ...]
    control: frozenset[int] = frozenset()
    end: frozenset[int] = frozenset()
    """Ids that end an answer (end of sequence, end of turn)."""
    begin: int | None = None
    adds_begin: bool = False
    pre_tokenizer: str | None = None
    chat_template: str | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.pieces)

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hex digits over kind, pieces and begin token: what makes ids mean the same.

        End and control tokens are not in it: formats declare different sets of them for one model.
        """
        digest = hashlib.sha256()
        digest.update(repr((self.kind, len(self.pieces))).encode())
        for piece in self.pieces:
            digest.update(len(piece).to_bytes(4, "little"))
            digest.update(piece)
        digest.update(repr(self.begin).encode())
        return digest.hexdigest()[:16]

    def name(self, token: int) -> str:
        """A token for people: its text with controls escaped, in quotes."""
        piece = self.pieces[token] if 0 <= token < len(self.pieces) else b"<no such token>"
        return repr(piece.decode("utf-8", errors="backslashreplace"))


class Tokenizer(Protocol):
    """Text to ids. Ids to text needs only `Vocabulary.pieces`."""

    def encode(self, text: str, *, special: bool) -> list[int]:
        """Ids of `text`, without a begin token.

        `special=True` reads the names of control tokens in the text as those tokens (a rendered chat
        template); `special=False` takes them as plain characters (text that a person or a file brings).
        Raises EngineError when the tokenizer refuses.
        """
        ...
