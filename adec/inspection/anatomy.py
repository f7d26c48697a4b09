"""The parts of a model from its header: tensors by purpose, and the shape of its KV cache."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adec.engines.base import ModelHeader
from adec.engines.llama.gguf.gguf_header import header_of
from adec.engines.llama.gguf.gguf_split import read_model
from adec.engines.llama.gguf.gguf_values import Array, GgufFile
from adec.engines.llama.gguf.gguf_vocabulary import TOKENS
from adec.engines.torch.folder_files import read_json, read_tensors
from adec.engines.torch.folder_header import read_folder_header
from adec.engines.torch.folder_vocabulary import CONFIG_LIMIT
from adec.errors import ModelFileError

_HALF, _SINGLE = 2, 4
"""Bytes of a number in the KV cache: llama.cpp's default is f16, torch on a CPU has float32."""

_GROUPS = (
    ("norms", re.compile(r"norm|\bln_|\bln\d|layer_?norm")),
    (
        "token embedding",
        re.compile(r"token_embd|embed_tokens|\bwte\b|\bwpe\b|embed_in|position_embd"),
    ),
    ("output head", re.compile(r"^output\b|lm_head|embed_out")),
    ("experts", re.compile(r"_exps|_shexp|experts|ffn_gate_inp|mlp\.gate\b")),
    ("attention", re.compile(r"attn|attention")),
    ("feed-forward", re.compile(r"ffn|mlp|feed_forward")),
    ("recurrent state", re.compile(r"ssm|mamba|mixer|shortconv|time_mix|channel_mix|linear_attn")),
)
_OTHER = "other"


@dataclass(frozen=True, slots=True)
class Group:
    """The tensors of one purpose: their count, parameters, bytes, and parameters by type."""

    name: str
    tensors: int
    parameters: int
    bytes: int
    types: dict[str, int]


@dataclass(frozen=True, slots=True)
class Cache:
    """The shape of a KV cache, over all layers with attention."""

    numbers_per_token: int
    bytes_per_number: int
    padding: int
    """The backend allocates in steps of this many tokens."""
    reserved: bool
    """Allocated at loading, and not as it fills."""

    def bytes_at(self, context: int) -> int:
        """Bytes at `context` tokens, which are rounded up to the padding."""
        cells = -(-context // self.padding) * self.padding
        return cells * self.numbers_per_token * self.bytes_per_number


@dataclass(frozen=True)
class Anatomy:
    """A header, the tensors behind it, and the memory that the weights take once loaded."""

    header: ModelHeader
    groups: tuple[Group, ...]
    weight_bytes: int
    cache: Cache | None
    """None if the header does not give the cache's shape."""


def dissect(path: Path) -> Anatomy:
    """Read a model's header and take it apart. Raises ModelFileError."""
    try:
        if path.is_dir():
            return _folder(path)
        if not path.is_file():
            raise ModelFileError(f"{path} is neither a file nor a folder")
        gguf = read_model(path, keep=(TOKENS,))
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror or error}") from error
    tensors = gguf.tensors.values()
    return Anatomy(
        header=header_of(gguf),
        groups=_grouped((t.name, t.type, t.elements, t.bytes) for t in tensors),
        weight_bytes=sum(tensor.bytes for tensor in tensors),
        cache=_gguf_cache(gguf),
    )


def _folder(path: Path) -> Anatomy:
    header = read_folder_header(path)
    tensors, _ = read_tensors(path)
    return Anatomy(
        header=header,
        groups=_grouped((name, t.dtype, t.count, t.bytes) for name, t in tensors.items()),
        weight_bytes=header.info.parameters * _SINGLE,
        cache=_folder_cache(read_json(path / "config.json", CONFIG_LIMIT)),
    )


def group_of(tensor: str) -> str:
    """The group of a tensor, by its name."""
    return next((name for name, pattern in _GROUPS if pattern.search(tensor)), _OTHER)


def _grouped(tensors: Iterable[tuple[str, str, int, int]]) -> tuple[Group, ...]:
    found: dict[str, Group] = {}
    for name, kind, elements, size in tensors:
        label = group_of(name)
        before = found.get(label) or Group(label, 0, 0, 0, {})
        types = {**before.types, kind: before.types.get(kind, 0) + elements}
        found[label] = Group(
            label,
            before.tensors + 1,
            before.parameters + elements,
            before.bytes + size,
            types,
        )
    return tuple(sorted(found.values(), key=lambda group: -group.bytes))


def _gguf_cache(gguf: GgufFile) -> Cache | None:
    """Keys and values of every layer: KV heads times the widths of a key and a value.

    The header was checked, so counts are bounded. Layers without attention have no heads.
    """
    prefix = gguf.text("general.architecture") or ""
    layers = gguf.integer(f"{prefix}.block_count") or 0
    heads = _each_layer(gguf, f"{prefix}.attention.head_count", layers)
    shared = _each_layer(gguf, f"{prefix}.attention.head_count_kv", layers) or heads
    width = gguf.integer(f"{prefix}.embedding_length") or 0
    if not heads or not shared or not max(heads):
        return None
    head = width // (heads[0] or max(heads))
    key = gguf.integer(f"{prefix}.attention.key_length") or head
    value = gguf.integer(f"{prefix}.attention.value_length") or head
    return Cache(sum(shared) * (key + value), _HALF, padding=256, reserved=True)


def _each_layer(gguf: GgufFile, key: str, layers: int) -> list[int]:
    value = gguf.values.get(key)
    if isinstance(value, Array):
        return [int(number) for number in value.numbers()]
    return [value] * layers if isinstance(value, int) and not isinstance(value, bool) else []


def _folder_cache(config: dict[str, Any]) -> Cache | None:
    def known(*names: str) -> int | None:
        found = (config.get(name) for name in names)
        return next((n for n in found if type(n) is int and 0 < n < 1 << 24), None)

    layers = known("num_hidden_layers", "n_layer", "num_layers")
    heads = known("num_attention_heads", "n_head")
    width = known("hidden_size", "n_embd")
    if layers is None or heads is None or width is None:
        return None
    head = known("head_dim") or width // heads
    shared = known("num_key_value_heads") or heads
    return Cache(2 * layers * shared * head, _SINGLE, padding=1, reserved=False)
