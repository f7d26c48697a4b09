"""The tokens of a model, as its file declares them; read without loading weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

_BAR, _LOW = "\N{FULLWIDTH VERTICAL LINE}", "\N{LOWER ONE EIGHTH BLOCK}"
END_NAMES = frozenset(
    f"""
    <|eot_id|> <|im_end|> <|end|> <|return|> <|call|> <|flush|> <|calls|> <end_of_turn> </s>
    <|endoftext|> <|end_of_text|> <|eom_id|> <EOT> _<EOT> [EOT] [EOS] <end_of_utterance> <eos>
    <turn|> <|tool_response> [e~[ <{_BAR}end{_LOW}of{_LOW}sentence{_BAR}>
    <|fim_pad|> <fim-pad> <fim_pad> <PAD> [PAD]
    <|fim_repo|> <|repo_name|> <fim-repo> <REPO> <reponame> <|file_sep|> <REP>
    """.encode().split()
)
"""Names that end an answer whatever their file declares, as in llama.cpp's special_eog_ids.

They mark the end of a text, a turn or a message; padding, repositories and files in
fill-in-the-middle models.
"""
SHOWN_NAMES = frozenset({b"<|channel|>", b"<|message|>", b"<|start|>", b"<|constrain|>"})
"""Control tokens that llama.cpp prints: they separate an answer from its reasoning."""


@dataclass(frozen=True)
class Vocabulary:
    """Everything that must agree before two models may share token ids.

    `pieces[i]` holds the raw bytes that token i adds to a text; a byte-level token may hold part of
    a character, and a control token has the bytes of its name. `kind` names the tokenizer's
    algorithm as llama.cpp does ("gpt2" for byte-level BPE, "llama" for SentencePiece BPE, "bert",
    "t5", …), `pre_tokenizer` the rule that splits a text, where known.
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
    special: Mapping[str, str] = field(default_factory=dict, hash=False, repr=False)
    """The model's own special tokens by the names that chat templates know: "eos_token", …"""
    space_prefix: bool = False
    """Whether the tokenizer writes a space before a text, which detokenizing takes away again."""

    def __len__(self) -> int:
        return len(self.pieces)

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hex digits over kind, pieces and begin token, which make ids mean the same.

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
        """A token as shown to people: its text in quotes, controls escaped."""
        piece = self.pieces[token] if 0 <= token < len(self.pieces) else b"<no such token>"
        return repr(piece.decode("utf-8", errors="backslashreplace"))


def byte_to_unicode() -> dict[int, str]:
    """GPT-2's byte-level alphabet: the printable character that stands for each byte."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {byte: chr(byte) for byte in printable}
    for byte in range(256):
        if byte not in table:
            table[byte] = chr(256 + len(table) - len(printable))
    return table


_TO_BYTES = {ord(char): chr(byte) for byte, char in byte_to_unicode().items()} | {
    # other characters stand for themselves: Latin-1 beside the alphabet is two bytes of UTF-8
    code: chr(code).encode().decode("latin-1")
    for code in (*range(0x80, 0xA1), 0xAD)
}


def from_byte_level(name: str) -> bytes:
    """The bytes that a byte-level token adds to a text.

    Characters outside the alphabet stand for themselves, in UTF-8.
    """
    text = name.translate(_TO_BYTES)
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return b"".join(
            char.encode("latin-1" if char < "\u0100" else "utf-8", errors="replace")
            for char in text
        )


def end_tokens(declared: set[int], tokens: Sequence[bytes]) -> set[int]:
    """`declared` and every token whose name (as the file writes it, UTF-8) ends an answer."""
    by_name = {name: token for token, name in enumerate(tokens) if name in END_NAMES}
    end = declared | set(by_name.values())
    # where these stand beside it, "<|end|>" ends a message and "</s>" is plain text
    names = {tokens[token] for token in end}
    if names >= {b"<|call|>", b"<|return|>"} or names >= {b"<|calls|>", b"<|flush|>"}:
        end.discard(by_name.get(b"<|end|>", -1))
    if b"<|tool_response>" in names:
        end.discard(by_name.get(b"</s>", -1))
    return end


class Tokenizer(Protocol):
    """Text to ids. Ids to text needs only `Vocabulary.pieces`."""

    def encode(self, text: str, *, special: bool) -> list[int]:
        """Ids of `text`, without a begin token.

        With `special`, names of control tokens in the text become those tokens (a rendered chat
        template); without it, they stay plain characters (text from a person or a file). Raises
        EngineError when the tokenizer refuses.
        """
        ...
