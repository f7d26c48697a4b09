"""The vocabulary in a GGUF header: pieces as bytes, special tokens, llama.cpp's defaults."""

from __future__ import annotations

import re
from typing import cast

from adec.engines.llama.gguf.gguf_values import STRING, GgufFile, shown
from adec.engines.vocabularies.vocabulary import (
    SHOWN_NAMES,
    Vocabulary,
    end_tokens,
    from_byte_level,
)

TOKENS = "tokenizer.ggml.tokens"
_PREFIX = "tokenizer.ggml."
MAX_TOKENS = 1 << 20

_ROLES = {
    "bos_token": "bos",
    "eos_token": "eos",
    "unk_token": "unknown",
    "sep_token": "seperator",
    "pad_token": "padding",
    "cls_token": "cls",
    "mask_token": "mask",
    "eot_token": "eot",
    "eom_token": "eom",
}
"""Names in chat templates, and the keys (with the format's own spelling) that give their ids."""
_LLAMA_IDS = {"unk_token": 0, "bos_token": 1, "eos_token": 2}
"""What llama.cpp takes for SentencePiece vocabularies that do not say."""
_NORMAL, _UNKNOWN, _CONTROL, _USER, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6
_INT32, _FLOAT32 = 5, 6

_SPACE_MARK = "\N{LOWER ONE EIGHTH BLOCK}".encode()
_SPACE = "\N{LATIN CAPITAL LETTER G WITH DOT ABOVE}".encode()
"""A space in the byte-level alphabet."""
_BYTE_TOKEN = re.compile(rb"<0x([0-9A-Fa-f]{2})>")
# bytes that no UTF-8 text holds
_NEVER = frozenset({0xC0, 0xC1, *range(0xF5, 0x100)})

# other kinds belong to encoders and RWKV; llama.cpp hangs or aborts when a vocabulary misfits them
_KINDS = ("gpt2", "llama", "gemma4")
_MARKED = frozenset({"llama", "gemma4"})
"""Kinds that write a space as U+2581 and a single byte as <0xNN>."""
_BYTE_LEVEL = "gpt2"
_BEGIN_BY_DEFAULT = frozenset(
    [
        "llama3",
        "llama-v3",
        "llama-bpe",
        "falcon3",
        "falcon-h1",
        "pixtral",
        "midm-2.0",
        "lfm2",
        "jina-v5-nano",
        "tekken",
        "chameleon",
        "gemma4",
    ]
)
"""Pre-tokenizers with which llama.cpp adds a begin token unless the file says otherwise."""


def read_vocabulary(gguf: GgufFile) -> Vocabulary:
    """The vocabulary of a file.

    Raises ModelFileError when it is absent, inconsistent, or would abort llama.cpp.
    """
    kind = gguf.text(_PREFIX + "model")
    if kind is None or kind in ("none", "no_vocab"):
        gguf.fail("has no tokenizer", "a model with its vocabulary is needed")
    if kind not in _KINDS:
        gguf.fail(f"has a tokenizer of the kind {shown(kind)}; {', '.join(_KINDS)} can be read")
    tokens = _tokens(gguf)
    types = _types(gguf, len(tokens))
    _check_scores_and_merges(gguf, kind, len(tokens))
    _check_bytes(gguf, kind, tokens, types)
    pre = gguf.text(_PREFIX + "pre")
    control = {token for token, type_ in enumerate(types) if type_ == _CONTROL}
    end = _end_tokens(gguf, kind, tokens)
    shown_ids = (
        set()
        if SHOWN_NAMES.isdisjoint(tokens)
        else {token for token, name in enumerate(tokens) if name in SHOWN_NAMES}
    )
    begin = _special(gguf, "bos", len(tokens))
    if begin is None and kind == "llama" and len(tokens) > 1:
        begin = 1
    adds_begin = gguf.flag(_PREFIX + "add_bos_token")
    if adds_begin is None or pre == "gemma4" or kind == "gemma4":
        adds_begin = kind in _MARKED or (kind == _BYTE_LEVEL and pre in _BEGIN_BY_DEFAULT)
    space_prefix = gguf.flag(_PREFIX + "add_space_prefix")
    return Vocabulary(
        kind=kind,
        pieces=_pieces(kind, pre, tokens, types),
        control=frozenset((control | end) - shown_ids),
        end=frozenset(end),
        begin=begin,
        adds_begin=adds_begin and begin is not None,
        pre_tokenizer=pre,
        chat_template=gguf.text("tokenizer.chat_template"),
        special=_special_names(gguf, kind, tokens),
        space_prefix=kind == "llama" if space_prefix is None else space_prefix,
    )


def _tokens(gguf: GgufFile) -> tuple[bytes, ...]:
    array = gguf.array(TOKENS)
    if array is None or array.type != STRING or array.strings is None or array.count == 0:
        gguf.fail("has no list of tokens", "a model with its vocabulary is needed")
    if array.count > MAX_TOKENS:
        gguf.fail(f"has {array.count} tokens, {MAX_TOKENS} at most can be read")
    tokens = array.strings
    # llama.cpp names empty tokens [EMPTY_i], then aborts when two tokens are the same
    names = set(tokens)
    if b"" in names:
        names = {token or b"[EMPTY_%d]" % i for i, token in enumerate(tokens)}
    if len(names) != len(tokens):
        gguf.fail("has the same token twice in its vocabulary")
    try:
        # a separator, so that two broken tokens cannot form a character together
        b"\0".join(tokens).decode("utf-8")
    except UnicodeDecodeError:
        bad = next((token for token in tokens if not _is_text(token)), b"")
        gguf.fail(f"has a token that is not UTF-8: {shown(bad)}")
    return tokens


def _is_text(token: bytes) -> bool:
    try:
        token.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _types(gguf: GgufFile, count: int) -> tuple[int, ...]:
    array = gguf.array(_PREFIX + "token_type")
    if array is None:
        return (_NORMAL,) * count
    if array.type != _INT32 or array.count != count:
        gguf.fail(f"has {array.count} token types for {count} tokens, or of a wrong type")
    return cast(tuple[int, ...], array.numbers())


def _check_scores_and_merges(gguf: GgufFile, kind: str, count: int) -> None:
    scores = gguf.array(_PREFIX + "scores")
    if scores is not None:
        if scores.type not in (_INT32, _FLOAT32) or scores.count != count:
            gguf.fail(f"has {scores.count} token scores for {count} tokens, or of a wrong type")
        if scores.type == _FLOAT32 and any(score != score for score in scores.numbers()):
            gguf.fail("has a token score that is not a number")
    merges = gguf.array(_PREFIX + "merges")
    if merges is not None and merges.type != STRING:
        gguf.fail("has merges that are not strings")
    if merges is None and kind in ("gpt2", "gemma4") and gguf.text(_PREFIX + "pre") != "kimi-k2":
        gguf.fail("has a byte-pair vocabulary without merges")


def _check_bytes(
    gguf: GgufFile, kind: str, tokens: tuple[bytes, ...], types: tuple[int, ...]
) -> None:
    for token, type_ in zip(tokens, types, strict=True):
        if type_ == _BYTE and not _BYTE_TOKEN.fullmatch(token):
            gguf.fail(f"calls {shown(token)} a byte token")
    if kind == "llama":
        # without them llama.cpp aborts on a character that the vocabulary lacks
        names = set(tokens)
        for byte in range(256):
            plain = 0 < byte < 0x80 and bytes([byte]) in names
            if byte not in _NEVER and b"<0x%02X>" % byte not in names and not plain:
                gguf.fail(f"has no token for the byte {byte:#04x}, which llama.cpp needs")


def _special(gguf: GgufFile, name: str, count: int) -> int | None:
    key = f"{_PREFIX}{name}_token_id"
    token = gguf.integer(key)
    if token is None or token in (-1, 0xFFFFFFFF):  # how converters write "none"
        return None
    if not 0 <= token < count:
        gguf.fail(f"names token {token} as {key}, but has {count} tokens")
    return token


def _special_names(gguf: GgufFile, kind: str, tokens: tuple[bytes, ...]) -> dict[str, str]:
    names: dict[str, str] = {}
    for role, key in _ROLES.items():
        token = gguf.values.get(f"{_PREFIX}{key}_token_id")
        if token is None and kind == "llama":
            token = _LLAMA_IDS.get(role)
        if type(token) is int and 0 <= token < len(tokens):
            names[role] = tokens[token].decode()
    return names


def _end_tokens(gguf: GgufFile, kind: str, tokens: tuple[bytes, ...]) -> set[int]:
    named = (_special(gguf, name, len(tokens)) for name in ("eos", "eot", "eom"))
    declared = {token for token in named if token is not None}
    if not declared and kind == "llama" and len(tokens) > 2:
        declared = {2}
    return end_tokens(declared, tokens)


def _pieces(
    kind: str, pre: str | None, tokens: tuple[bytes, ...], types: tuple[int, ...]
) -> tuple[bytes, ...]:
    if kind in _MARKED or pre in ("gemma4", "sarvam-moe"):
        pieces = [token.replace(_SPACE_MARK, b" ") for token in tokens]
    else:
        pieces = [
            token
            if token.isascii()
            # most of the others are words after a space, which is quicker to see than to translate
            else b" " + token[2:]
            if token[:2] == _SPACE and token[2:].isascii()
            else from_byte_level(token.decode())
            for token in tokens
        ]
    for token, type_ in enumerate(types):
        if type_ == _NORMAL:
            continue
        if type_ in (_CONTROL, _UNKNOWN, _USER):
            pieces[token] = tokens[token]
        elif type_ == _UNUSED:
            pieces[token] = b""  # pads the head
        elif type_ == _BYTE:
            pieces[token] = bytes([int(tokens[token][3:5], 16)])
    return tuple(pieces)
