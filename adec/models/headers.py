"""Headers of many models in a short time: what they share is taken apart once."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec

from adec.engines.base import ModelHeader
from adec.engines.llama.gguf.gguf_header import header_of
from adec.engines.llama.gguf.gguf_reader import KnownStrings
from adec.engines.llama.gguf.gguf_split import read_model
from adec.engines.llama.gguf.gguf_values import GgufFile, Tensor
from adec.engines.llama.gguf.gguf_vocabulary import TOKENS
from adec.engines.llama.gguf.gguf_vocabulary import read_vocabulary as read_gguf_vocabulary
from adec.engines.torch.folder_header import read_folder_header
from adec.engines.torch.folder_vocabulary import read_vocabulary as read_folder_vocabulary
from adec.engines.vocabularies.vocabulary import Vocabulary
from adec.errors import AdecError, ModelFileError

_KEPT = 6
"""Vocabularies that are remembered, about 20 MB each."""
_FLOAT32 = 4
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "generation_config.json")
_READ_LIMIT = 64 << 20


class Tokens(msgspec.Struct, frozen=True):
    """What tells vocabularies apart without their pieces."""

    key: str
    """Equal exactly where `adec.engines.pair.differences` has nothing to say."""
    kind: str
    splits: str | None
    count: int


class Card(msgspec.Struct, frozen=True):
    """A model as a listing needs it; `problem` says why it is none, and nothing else is known."""

    stamp: str
    """Changes when the files change."""
    problem: str | None = None
    title: str = ""
    format: str = ""
    architecture: str = ""
    quantisation: str = ""
    parameters: int = 0
    context: int = 0
    file_bytes: int = 0
    read_bytes: int = 0
    """Bytes of weights that are read to write one token."""
    rewinds: bool = False
    tokens: Tokens | None = None


class ManyHeaders:
    """Reads headers one after another."""

    def __init__(self) -> None:
        self._strings = KnownStrings(2 * _KEPT)
        self._vocabularies: list[tuple[object, Vocabulary]] = []

    def card(self, path: Path, stamp: str) -> Card:
        """The card of the model at `path`. A broken model gives a card with its problem."""
        try:
            header, read_bytes = self._read(path)
        except AdecError as error:
            return Card(stamp, problem=_short(error.message, path))
        except OSError as error:
            return Card(stamp, problem=f"cannot be read: {error.strerror or error}")
        except (ValueError, RecursionError, MemoryError) as error:
            return Card(stamp, problem=f"cannot be read: {type(error).__name__}")
        info, vocabulary = header.info, header.vocabulary
        return Card(
            stamp,
            None,
            info.name,
            info.format,
            info.architecture,
            info.quantisation,
            info.parameters,
            info.context_limit,
            info.bytes,
            read_bytes,
            "rewind" in header.capabilities,
            Tokens(_key(vocabulary), vocabulary.kind, vocabulary.pre_tokenizer, len(vocabulary)),
        )

    def vocabulary(self, path: Path) -> Vocabulary:
        """The vocabulary of the model at `path`. Raises ModelFileError or OSError."""
        return self._read(path)[0].vocabulary

    def _read(self, path: Path) -> tuple[ModelHeader, int]:
        if path.is_dir():
            header = read_folder_header(path, self._folder_vocabulary)
            # as anywhere in adec: the torch engine holds float32 on a CPU
            return header, header.info.parameters * _FLOAT32
        if not path.is_file():
            raise ModelFileError(f"{path} is neither a file nor a folder")
        gguf = read_model(path, keep=(TOKENS,), known=self._strings)
        return header_of(gguf, self._gguf_vocabulary), weights_read(gguf)

    def _gguf_vocabulary(self, gguf: GgufFile) -> Vocabulary:
        # two models of a family may have other chat templates, which no listing shows
        key = {
            name: value
            for name, value in gguf.values.items()
            if name.startswith("tokenizer.") and "chat_template" not in name
        }
        return self._known(key) or self._remember(key, read_gguf_vocabulary(gguf))

    def _folder_vocabulary(self, folder: Path, config: dict[str, Any], size: int) -> Vocabulary:
        digest = hashlib.blake2b(
            repr((size, config.get("eos_token_id"), config.get("bos_token_id"))).encode()
        )
        for name in _TOKENIZER_FILES:
            digest.update(name.encode())
            if (folder / name).is_file():
                with (folder / name).open("rb") as file:
                    digest.update(file.read(_READ_LIMIT))
        key = digest.digest()
        found = self._known(key)
        return found or self._remember(key, read_folder_vocabulary(folder, config, size))

    def _known(self, key: object) -> Vocabulary | None:
        return next((v for known, v in reversed(self._vocabularies) if known == key), None)

    def _remember(self, key: object, vocabulary: Vocabulary) -> Vocabulary:
        self._vocabularies = [*self._vocabularies[1 - _KEPT :], (key, vocabulary)]
        return vocabulary


def weights_read(gguf: GgufFile) -> int:
    """Bytes of weights that a forward of one token reads.

    All of them, but of the token embedding only a row where the head has weights of its own, and of
    the experts only those that a token uses.
    """
    architecture = gguf.text("general.architecture") or ""
    experts = gguf.integer(f"{architecture}.expert_count") or 0
    used = gguf.values.get(f"{architecture}.expert_used_count")
    share = used / experts if experts and isinstance(used, int) and used <= experts else 1.0
    own_head = "output.weight" in gguf.tensors

    def read(tensor: Tensor) -> float:
        if tensor.name == "token_embd.weight" and own_head:
            return 0
        return tensor.bytes * share if "_exps" in tensor.name else tensor.bytes

    return round(sum(map(read, gguf.tensors.values())))


def _key(vocabulary: Vocabulary) -> str:
    rest = (vocabulary.pre_tokenizer, sorted(vocabulary.end), vocabulary.adds_begin)
    digest = hashlib.sha256(repr(rest).encode())
    digest.update(vocabulary.fingerprint.encode())
    return digest.hexdigest()[:16]


def _short(message: str, path: Path) -> str:
    """A problem without the path, which the listing shows beside it."""
    return " ".join(message.replace(str(path), "it", 1).split())[:300]
