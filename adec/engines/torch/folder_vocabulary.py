"""The vocabulary and the tokenizer of a model folder: tokenizer.json and its companions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from adec.engines.torch.folder_files import parse_json, read_json
from adec.engines.vocabularies.vocabulary import (
    SHOWN_NAMES,
    Vocabulary,
    end_tokens,
    from_byte_level,
)
from adec.errors import EngineError, ModelFileError
from adec.whole_file import read_bounded

TOKENIZER_LIMIT = 64 << 20
CONFIG_LIMIT = 16 << 20
TEMPLATE_LIMIT = 1 << 20
TOKENS_LIMIT = 1 << 22

_SPACE_MARK = "\N{LOWER ONE EIGHTH BLOCK}"
_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
# names that llama.cpp's converter takes for control tokens, whatever tokenizer.json says
_CONTROL_NAME = re.compile(
    r"<\|.*\|>|<\uff5c.*\uff5c>|<unused.*>|<pad>|<mask>|<2mass>|\[@BOS@\]", re.DOTALL
)


def looks_like_control(name: str) -> bool:
    """Whether llama.cpp's converter makes an added token of this name a control token."""
    return _CONTROL_NAME.fullmatch(name) is not None


def read_vocabulary(folder: Path, config: dict[str, Any], size: int) -> Vocabulary:
    """The vocabulary of `folder`, padded with unused tokens (no bytes) to `size`, a row's width.

    `config` is the parsed config.json. Raises ModelFileError.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise ModelFileError(
            f"{folder} has no tokenizer.json",
            hint="write one: AutoTokenizer.from_pretrained(...).save_pretrained(...)",
        )
    tokenizer = read_json(path, TOKENIZER_LIMIT)
    settings = _optional(folder / "tokenizer_config.json")
    generation = _optional(folder / "generation_config.json")
    model = tokenizer.get("model")
    if not isinstance(model, dict):
        raise ModelFileError(f"{path} has no model")
    kind = _kind(path, tokenizer, model)
    names = [b""] * size
    pieces = [b""] * size
    control: set[int] = set()
    for token, name in _names(path, model, size).items():
        names[token], pieces[token] = _utf8(name), _piece(kind, name)
    for token, name, special in _added(path, tokenizer, size):
        names[token] = _utf8(name)
        if special or looks_like_control(name):
            control.add(token)
            pieces[token] = names[token]
        else:
            # the converter turns space marks of user-defined tokens into spaces
            pieces[token] = _utf8(name.replace(_SPACE_MARK, " "))
    ids = {name: token for token, name in enumerate(names) if name}
    by_role = _special_names(folder, settings)
    end = end_tokens(
        {
            *_ids(config.get("eos_token_id"), "config.json", size),
            *_ids(generation.get("eos_token_id"), "generation_config.json", size),
            *_named(by_role.get("eos_token"), ids),
        },
        names,
    )
    begins = _named(by_role.get("bos_token"), ids) or _ids(
        config.get("bos_token_id"), "config.json", size
    )
    begin = begins[0] if begins else None
    for role in ("bos", "eos", "pad"):
        for source in (config, generation):
            value = source.get(f"{role}_token_id")
            first = value[0] if isinstance(value, list) and value else value
            # some configs write "none" as -1
            if type(first) is int and 0 <= first < size and names[first]:
                by_role.setdefault(f"{role}_token", names[first].decode())
    shown = {ids[name] for name in SHOWN_NAMES if name in ids}
    return Vocabulary(
        kind=kind,
        pieces=tuple(pieces),
        control=frozenset((control | end) - shown),
        end=frozenset(end),
        begin=begin,
        adds_begin=begin is not None and _adds_begin(settings, tokenizer, names[begin].decode()),
        chat_template=_chat_template(folder, settings),
        special=by_role,
        space_prefix=_strips_space(tokenizer),
    )


def _optional(path: Path) -> dict[str, Any]:
    return read_json(path, CONFIG_LIMIT) if path.is_file() else {}


def _kind(path: Path, tokenizer: dict[str, Any], model: dict[str, Any]) -> str:
    parts = {
        kind
        for field in ("pre_tokenizer", "decoder", "normalizer")
        for part in _parts(tokenizer.get(field))
        if isinstance(kind := part.get("type"), str)
    }
    match model.get("type", "BPE"):
        case "BPE" if "ByteLevel" in parts:
            return "gpt2"
        case "BPE" if model.get("byte_fallback") or "Metaspace" in parts:
            return "llama"
        case "Unigram":
            return "t5"
        case "WordPiece":
            return "bert"
        case other:
            name = repr(other[:40]) if isinstance(other, str) else type(other).__name__
            raise ModelFileError(
                f"{path} holds a tokenizer of a kind that adec does not read: {name}"
            )


def _parts(node: Any) -> Iterator[dict[str, Any]]:
    """A component of a tokenizer, and the members of sequences in it."""
    waiting = [node]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield part
            for field in ("pretokenizers", "decoders", "normalizers", "processors"):
                if isinstance(part.get(field), list):
                    waiting.extend(part[field])


def _names(path: Path, model: dict[str, Any], size: int) -> dict[int, str]:
    table = model.get("vocab")
    if isinstance(table, list):
        rows = [row[0] if isinstance(row, list) and row else None for row in table]
        pairs: list[tuple[Any, Any]] = list(zip(rows, range(len(rows)), strict=True))
    elif isinstance(table, dict):
        pairs = list(table.items())
    else:
        raise ModelFileError(f"{path} has no vocabulary")
    names: dict[int, str] = {}
    for name, token in pairs:
        if not isinstance(name, str):
            raise ModelFileError(f"{path} has a token without a text")
        names[_id(token, size, path.name)] = name
    if len(names) != len(pairs):
        raise ModelFileError(f"{path} gives two tokens the same id")
    return names


def _added(path: Path, tokenizer: dict[str, Any], size: int) -> Iterator[tuple[int, str, bool]]:
    rows = tokenizer.get("added_tokens") or []
    if not isinstance(rows, list):
        raise ModelFileError(f"{path} has broken added_tokens")
    for row in rows:
        match row:
            case {"id": token, "content": str(name)}:
                yield _id(token, size, path.name), name, row.get("special") is True
            case _:
                raise ModelFileError(f"{path} has a broken added token")


def _piece(kind: str, name: str) -> bytes:
    if kind == "gpt2":
        return from_byte_level(name)
    if kind in ("llama", "t5"):
        match = _BYTE_TOKEN.fullmatch(name)
        if match:
            return bytes([int(match[1], 16)])
        return _utf8(name.replace(_SPACE_MARK, " "))
    return _utf8(name)


def _utf8(text: str) -> bytes:
    # JSON can carry half a surrogate pair, which has no UTF-8
    return text.encode("utf-8", errors="replace")


def _id(token: Any, size: int, where: str) -> int:
    if type(token) is not int or not 0 <= token < size:
        name = str(token)[:24] if isinstance(token, int) else f"of type {type(token).__name__}"
        raise ModelFileError(f"{where} names a token {name}, outside the vocabulary of {size}")
    return token


def _ids(value: Any, where: str, size: int) -> list[int]:
    if value is None:
        return []
    values = value if isinstance(value, list) else [value]
    return [_id(token, size, where) for token in values if token is not None]


def _special_names(folder: Path, settings: dict[str, Any]) -> dict[str, str]:
    """Special tokens by the names that transformers gives them in chat templates."""
    fields = dict(settings)
    if "added_tokens_decoder" not in settings:
        # as in transformers: the file of older folders wins over the settings
        fields |= _optional(folder / "special_tokens_map.json")
    named = {key: value for key, value in fields.items() if key.endswith("_token")}
    for key in ("extra_special_tokens", "model_specific_special_tokens"):
        more = fields.get(key)
        named |= more if isinstance(more, dict) else {}
    contents = {
        name: value.get("content") if isinstance(value, dict) else value
        for name, value in named.items()
    }
    return {name: text for name, text in contents.items() if isinstance(text, str)}


def _strips_space(tokenizer: dict[str, Any]) -> bool:
    """Whether the tokenizer's decoder takes the first space of a text away."""
    for part in _parts(tokenizer.get("decoder")):
        match part:
            case {"type": "Strip", "content": " ", "start": int(count)} if count > 0:
                return True
            case {"type": "Metaspace"}:
                scheme = part.get("prepend_scheme", "always")
                return scheme != "never" and part.get("add_prefix_space") is not False
    return False


def _named(name: str | None, ids: dict[bytes, int]) -> list[int]:
    """The id of a token by its name; empty if unknown."""
    token = None if name is None else ids.get(_utf8(name))
    return [] if token is None else [token]


def _adds_begin(settings: dict[str, Any], tokenizer: dict[str, Any], begin: str) -> bool:
    wish = settings.get("add_bos_token")
    if isinstance(wish, bool):
        return wish
    for part in _parts(tokenizer.get("post_processor")):
        match part:
            case {
                "type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": str(name)}}, *_],
            }:
                if name == begin:
                    return True
    return False


def _chat_template(folder: Path, settings: dict[str, Any]) -> str | None:
    path = folder / "chat_template.jinja"
    if path.is_file():
        # the file wins over the field, as in transformers
        return read_bounded(path, TEMPLATE_LIMIT).decode("utf-8", errors="replace")
    template = settings.get("chat_template")
    if isinstance(template, list):
        named = [row for row in template if isinstance(row, dict)]
        template = next((r.get("template") for r in named if r.get("name") == "default"), None)
    if not isinstance(template, str):
        return None
    if len(template) > TEMPLATE_LIMIT:
        raise ModelFileError(
            f"{folder} has a chat template of more than {TEMPLATE_LIMIT >> 20} MiB"
        )
    return template


def tokenizer_json(folder: Path, control: frozenset[int]) -> str:
    """tokenizer.json with all of `control` marked special, without truncation or padding.

    An unmarked control token would be recognised by its name even in text from a person. Raises
    ModelFileError.
    """
    path = folder / "tokenizer.json"
    tokenizer = parse_json(read_bounded(path, TOKENIZER_LIMIT), path)
    for row in tokenizer.get("added_tokens") or []:
        if isinstance(row, dict) and row.get("id") in control:
            row["special"] = True
    tokenizer["truncation"] = tokenizer["padding"] = None
    return json.dumps(tokenizer)


class FolderTokenizer:
    """The `tokenizers` library on one tokenizer.json, which is read at the first text."""

    def __init__(self, folder: Path, vocabulary: Vocabulary) -> None:
        self._folder = folder
        self._vocabulary = vocabulary
        self._tokenizer: Any = None

    def encode(self, text: str, *, special: bool) -> list[int]:
        """See `Tokenizer.encode`. Lone surrogates become "?".

        Raises EngineError when tokenizer.json has changed or the library refuses it.
        """
        tokenizer = self._tokenizer or self._open()
        # set, names of special tokens are text like any other
        tokenizer.encode_special_tokens = not special
        text = text.encode("utf-8", errors="replace").decode()
        try:
            ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
        except Exception as error:
            raise EngineError(f"the tokenizer of {self._folder} failed: {error}") from error
        return ids

    def _open(self) -> Any:
        from tokenizers import Tokenizer

        text = tokenizer_json(self._folder, self._vocabulary.control)
        try:
            self._tokenizer = Tokenizer.from_str(text)
        # a panic in the library is a BaseException
        except BaseException as error:
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
            raise EngineError(
                f"cannot read {self._folder / 'tokenizer.json'}: {str(error)[:120]}"
            ) from error
        return self._tokenizer
