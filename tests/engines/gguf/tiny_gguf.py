"""Tiny random llama models as GGUF files, for tests of what reads them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import gguf
import numpy as np

MERGES = ("t h", "h e", "i n", "a n", "th e", "an d", "Ġ the", "Ġ a", "o u", "e r")
CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def byte_alphabet() -> list[str]:
    """GPT-2's character for each of the 256 bytes."""
    plain = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    shift = iter(range(0x100, 0x200))
    return [chr(byte) if byte in plain else chr(next(shift)) for byte in range(256)]


def byte_level_vocabulary(
    merges: Sequence[str] = MERGES, control: Sequence[str] = CONTROL
) -> list[str]:
    """The 256 bytes, one token a merge, then the control tokens."""
    return [*byte_alphabet(), *(merge.replace(" ", "") for merge in merges), *control]


def write_tiny_gguf(
    path: Path,
    *,
    layers: int = 2,
    width: int = 64,
    heads: int = 4,
    kv_heads: int = 2,
    vocabulary: Sequence[str] | None = None,
    merges: Sequence[str] = MERGES,
    control: Sequence[str] = CONTROL,
    seed: int = 0,
    architecture: str = "llama",
    swa: int | None = None,
    experts: int = 0,
    context: int = 2048,
    name: str = "tiny",
    chat_template: str | None = None,
) -> Path:
    """Write a model with random float32 weights and a byte-level vocabulary; return `path`.

    `vocabulary` replaces the tokens; those of `control` in it are control tokens. `swa` gives the
    attention a sliding window of so many tokens in every other layer, with architecture "gemma2".
    With `experts` each layer has so many, of which a token uses two.
    """
    if swa is not None:
        architecture = "gemma2"
    tokens = list(vocabulary or byte_level_vocabulary(merges, control))
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name(name)
    writer.add_file_type(0)
    writer.add_block_count(layers)
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(2 * width)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    if experts:
        writer.add_expert_count(experts)
        writer.add_expert_used_count(2)
    if architecture == "llama":
        writer.add_rope_dimension_count(width // heads)
    if architecture == "gemma2":
        writer.add_key_length(width // heads)
        writer.add_value_length(width // heads)
        writer.add_sliding_window(swa or 4096)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in control else 1 for token in tokens])
    writer.add_token_merges(list(merges))
    end = [tokens.index(token) for token in control if token in tokens]
    if end:
        writer.add_eos_token_id(end[0])
    writer.add_add_bos_token(False)
    if chat_template is not None:
        writer.add_chat_template(chat_template)

    rng = np.random.default_rng(seed)
    head = width // heads

    def weights(tensor: str, rows: int, columns: int, copies: int = 0) -> None:
        # spread so that rows of logits differ clearly from token to token
        shape = (copies, rows, columns) if copies else (rows, columns)
        values = rng.normal(0, 1.5 / np.sqrt(columns), shape).astype(np.float32)
        writer.add_tensor(tensor, values)

    def norm(tensor: str) -> None:
        writer.add_tensor(tensor, np.ones(width, dtype=np.float32))

    writer.add_tensor(
        "token_embd.weight", rng.normal(0, 1, (len(tokens), width)).astype(np.float32)
    )
    for layer in range(layers):
        prefix = f"blk.{layer}."
        norm(prefix + "attn_norm.weight")
        weights(prefix + "attn_q.weight", heads * head, width)
        weights(prefix + "attn_k.weight", kv_heads * head, width)
        weights(prefix + "attn_v.weight", kv_heads * head, width)
        weights(prefix + "attn_output.weight", width, heads * head)
        if architecture == "qwen2":
            for part, rows in (("q", heads), ("k", kv_heads), ("v", kv_heads)):
                bias = rng.normal(0, 0.3, rows * head).astype(np.float32)
                writer.add_tensor(f"{prefix}attn_{part}.bias", bias)
        if architecture == "qwen3":
            for part in ("q", "k"):
                scale = rng.uniform(0.5, 1.5, head).astype(np.float32)
                writer.add_tensor(f"{prefix}attn_{part}_norm.weight", scale)
        norm(prefix + "ffn_norm.weight")
        if architecture == "gemma2":
            norm(prefix + "post_attention_norm.weight")
            norm(prefix + "post_ffw_norm.weight")
        if experts:
            weights(prefix + "ffn_gate_inp.weight", experts, width)
        suffix = "_exps.weight" if experts else ".weight"
        for part, rows, columns in (
            ("gate", 2 * width, width),
            ("up", 2 * width, width),
            ("down", width, 2 * width),
        ):
            weights(f"{prefix}ffn_{part}{suffix}", rows, columns, experts)
    norm("output_norm.weight")
    if architecture != "gemma2":
        weights("output.weight", len(tokens), width)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@dataclass
class RawTensor:
    """A tensor as written: any name, shape, type number and offset, true or not."""

    name: bytes
    shape: list[int]
    type: int
    data: bytes
    offset: int | None = None


@dataclass
class RawGguf:
    """A GGUF file in parts, to be changed and written with whatever lies a test needs.

    A pair is (key, type, value); an array's value is (element type, elements). Counts, offsets and
    the padding are those of the parts unless they are set.
    """

    pairs: list[tuple[bytes, int, Any]] = field(default_factory=list)
    tensors: list[RawTensor] = field(default_factory=list)
    magic: bytes = b"GGUF"
    version: int = 3
    pair_count: int | None = None
    tensor_count: int | None = None

    _LAYOUTS: ClassVar = dict(zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIif?Qqd", strict=True))

    @classmethod
    def read(cls, path: Path) -> RawGguf:
        """Take a well-formed file apart."""
        data, at = path.read_bytes(), 0

        def take(layout: str) -> Any:
            nonlocal at
            (value,) = struct.unpack_from("<" + layout, data, at)
            at += struct.calcsize("<" + layout)
            return value

        def string() -> bytes:
            nonlocal at
            length = take("Q")
            at += length
            return data[at - length : at]

        def element(kind: int) -> Any:
            return string() if kind == 8 else take(cls._LAYOUTS[kind])

        raw = cls(magic=data[:4])
        at = 4
        raw.version, tensors, pairs = take("I"), take("Q"), take("Q")
        for _ in range(pairs):
            key, kind = string(), take("I")
            if kind == 9:
                inner, count = take("I"), take("Q")
                raw.pairs.append((key, 9, (inner, [element(inner) for _ in range(count)])))
            else:
                raw.pairs.append((key, kind, element(kind)))
        starts = []
        for _ in range(tensors):
            name = string()
            shape = [take("Q") for _ in range(take("I"))]
            raw.tensors.append(RawTensor(name, shape, take("I"), b""))
            starts.append(take("Q"))
        base = -(-at // 32) * 32
        for tensor, start, end in zip(
            raw.tensors, starts, [*starts[1:], len(data) - base], strict=True
        ):
            tensor.data = data[base + start : base + end]
        return raw

    def set(self, key: str, kind: int, value: Any) -> RawGguf:
        """Replace a pair, or append it."""
        pair = (key.encode(), kind, value)
        for i, (name, _, _) in enumerate(self.pairs):
            if name == pair[0]:
                self.pairs[i] = pair
                return self
        self.pairs.append(pair)
        return self

    def drop(self, key: str) -> RawGguf:
        """Leave a pair out."""
        self.pairs = [pair for pair in self.pairs if pair[0] != key.encode()]
        return self

    def tensor(self, name: str) -> RawTensor:
        """A tensor by name."""
        return next(tensor for tensor in self.tensors if tensor.name == name.encode())

    def to_bytes(self) -> bytes:
        """The file."""
        out = bytearray(self.magic)
        count = len(self.tensors) if self.tensor_count is None else self.tensor_count
        pairs = len(self.pairs) if self.pair_count is None else self.pair_count
        out += struct.pack("<IQQ", self.version, count, pairs)
        for key, kind, value in self.pairs:
            out += struct.pack("<Q", len(key)) + key + struct.pack("<I", kind)
            out += self._value(kind, value)
        offset = 0
        for tensor in self.tensors:
            out += struct.pack("<Q", len(tensor.name)) + tensor.name
            out += struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *tensor.shape)
            out += struct.pack(
                "<IQ", tensor.type, offset if tensor.offset is None else tensor.offset
            )
            offset += -(-len(tensor.data) // 32) * 32
        for tensor in self.tensors:
            out += bytes(-len(out) % 32) + tensor.data
        return bytes(out)

    def write(self, path: Path) -> Path:
        """Write the file and return its path."""
        path.write_bytes(self.to_bytes())
        return path

    def _value(self, kind: int, value: Any) -> bytes:
        if kind == 9:
            inner, elements = value
            head = struct.pack("<IQ", inner, len(elements))
            return head + b"".join(self._value(inner, element) for element in elements)
        if kind == 8:
            return struct.pack("<Q", len(value)) + value
        return struct.pack("<" + self._LAYOUTS.get(kind, "I"), value)


def write_parts(whole: Path, folder: Path, count: int) -> Path:
    """Split a file as llama-gguf-split does, as `m-0000i-of-0000n.gguf`; return the first part."""
    paths = [folder / f"m-{i + 1:05d}-of-{count:05d}.gguf" for i in range(count)]
    raw = RawGguf.read(whole)
    each = -(-len(raw.tensors) // count)
    for number, path in enumerate(paths):
        part = RawGguf(
            list(raw.pairs) if number == 0 else [],
            raw.tensors[number * each : (number + 1) * each],
        )
        part.set("split.no", 2, number).set("split.count", 2, count)
        part.set("split.tensors.count", 5, len(raw.tensors)).write(path)
    return paths[0]


def write_tiny_mamba(
    path: Path, *, layers: int = 2, width: int = 32, seed: int = 0, hybrid: bool = False
) -> Path:
    """Write a recurrent model with random weights, whose state cannot be cut; return `path`.

    `hybrid`: a Jamba, in which every other layer has attention.
    """
    tokens = byte_level_vocabulary()
    inner, state, rank, kernel = 2 * width, 16, 2, 4
    heads = 2
    writer = gguf.GGUFWriter(path, "jamba" if hybrid else "mamba")
    writer.add_name("tiny mamba")
    writer.add_block_count(layers)
    writer.add_context_length(2048)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(2 * width if hybrid else 0)
    writer.add_head_count(heads if hybrid else 0)
    if hybrid:
        writer.add_head_count_kv([heads if layer % 2 else 0 for layer in range(layers)])
    writer.add_ssm_conv_kernel(kernel)
    writer.add_ssm_inner_size(inner)
    writer.add_ssm_state_size(state)
    writer.add_ssm_time_step_rank(rank)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in CONTROL else 1 for token in tokens])
    writer.add_token_merges(list(MERGES))
    writer.add_eos_token_id(tokens.index(CONTROL[0]))
    rng = np.random.default_rng(seed)

    def add(tensor: str, *shape: int) -> None:
        values = rng.normal(0, 1 / np.sqrt(shape[-1]), shape).astype(np.float32)
        writer.add_tensor(tensor, values)

    def norm(tensor: str, size: int) -> None:
        writer.add_tensor(tensor, np.ones(size, dtype=np.float32))

    add("token_embd.weight", len(tokens), width)
    for layer in range(layers):
        prefix = f"blk.{layer}."
        norm(prefix + "attn_norm.weight", width)
        if hybrid and layer % 2:
            for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
                add(f"{prefix}{name}.weight", width, width)
        else:
            add(prefix + "ssm_in.weight", 2 * inner, width)
            add(prefix + "ssm_conv1d.weight", inner, kernel)
            add(prefix + "ssm_conv1d.bias", inner)
            add(prefix + "ssm_x.weight", rank + 2 * state, inner)
            add(prefix + "ssm_dt.weight", inner, rank)
            add(prefix + "ssm_dt.bias", inner)
            writer.add_tensor(prefix + "ssm_a", -np.ones((inner, state), dtype=np.float32))
            add(prefix + "ssm_d", inner)
            add(prefix + "ssm_out.weight", width, inner)
        if hybrid:
            if layer % 2 == 0:
                norm(prefix + "ssm_dt_norm.weight", rank)
                norm(prefix + "ssm_b_norm.weight", state)
                norm(prefix + "ssm_c_norm.weight", state)
            norm(prefix + "ffn_norm.weight", width)
            add(prefix + "ffn_gate.weight", 2 * width, width)
            add(prefix + "ffn_up.weight", 2 * width, width)
            add(prefix + "ffn_down.weight", width, 2 * width)
    norm("output_norm.weight", width)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
