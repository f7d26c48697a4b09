"""From the header of a GGUF file to a configuration of transformers and the names of its weights.

Everything that torch could not run is refused here, before weights are read: another architecture,
a tensor that is missing, unknown or of another shape than the sizes in the header demand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from adec.engines.base import ModelHeader
from adec.engines.llama.gguf.gguf_header import ON_TORCH, header_of
from adec.engines.llama.gguf.gguf_split import read_model
from adec.engines.llama.gguf.gguf_values import GgufFile, Tensor, shown
from adec.engines.llama.gguf.gguf_vocabulary import TOKENS
from adec.engines.torch.from_gguf import NAME

READABLE = frozenset(
    [
        "F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K",
        "Q5_K", "Q6_K", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ1_S", "IQ1_M",
        "IQ4_NL", "IQ4_XS", "TQ1_0", "TQ2_0", "MXFP4",
    ]
)  # fmt: skip
"""Types that the package gguf turns into numbers."""

FREQUENCIES = "rope_freqs.weight"
"""What each frequency of RoPE is divided by; Llama 3 scales so."""
DEFAULT_THETA = 10000.0
_HINT = "leave --engine out, and llama.cpp runs it"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a weight of the module comes from."""

    tensor: Tensor
    heads: int = 0
    """Of a query or key projection whose rows llama.cpp keeps in its own order; 0: as they are."""


@dataclass(frozen=True)
class TorchLayout:
    """What torch needs to know of a GGUF file."""

    model_type: str
    config: dict[str, Any]
    """Arguments of transformers' configuration."""
    sources: dict[str, Source]
    """By the weight's name in the module."""
    frequencies: Tensor | None
    """Divisors of RoPE's frequencies."""


def read_layout(path: Path) -> tuple[ModelHeader, TorchLayout]:
    """The header of a GGUF model as torch runs it, and the way to its weights.

    Raises ModelFileError when the file is broken or torch cannot run it, OSError if unreadable.
    """
    gguf = read_model(path, keep=(TOKENS,))
    header = header_of(gguf)
    architecture = header.info.architecture
    if architecture not in ON_TORCH:
        _refuse(gguf, f"is a {shown(architecture)}; on torch adec runs {', '.join(ON_TORCH)}")
    config = _config(gguf, architecture)
    sources = dict(_sources(gguf, architecture, config))
    used = {source.tensor.name for source in sources.values()}
    for name, tensor in gguf.tensors.items():
        if name not in used and name != FREQUENCIES:
            _refuse(gguf, f"has the tensor {shown(name)}, which adec does not know on torch")
        if tensor.type not in READABLE:
            _refuse(gguf, f"has a tensor {shown(name)} of type {tensor.type}")
    config["tie_word_embeddings"] = "lm_head.weight" not in sources
    frequencies = gguf.tensors.get(FREQUENCIES)
    if frequencies is not None and frequencies.shape != (config["head_dim"] // 2,):
        _refuse(gguf, f"has {FREQUENCIES} of shape {list(frequencies.shape)}")
    able = replace(
        header,
        info=replace(header.info, format=NAME),
        capabilities=frozenset({"rewind", "tree", "layers", "vectors", "pseudo"}),
        missing={},
    )
    return able, TorchLayout(architecture, config, sources, frequencies)


def _config(gguf: GgufFile, architecture: str) -> dict[str, Any]:
    """Arguments of the configuration, without `tie_word_embeddings`."""

    def number(key: str, default: int | None = None) -> int:
        value = gguf.values.get(f"{architecture}.{key}", default)
        if type(value) is not int:
            _refuse(gguf, f"has no single number {architecture}.{key}")
        return value

    def fraction(key: str, default: float | None = None) -> float:
        value = gguf.values.get(f"{architecture}.{key}", default)
        if not isinstance(value, float):
            _refuse(gguf, f"has no {architecture}.{key}")
        return value

    if gguf.integer(f"{architecture}.expert_count"):
        _refuse(gguf, "has layers of experts, which adec does not run on torch")
    if gguf.values.get(f"{architecture}.attention.sliding_window"):
        _refuse(gguf, "has attention with a sliding window, which adec does not run on torch")
    heads, width = number("attention.head_count"), number("embedding_length")
    rope: dict[str, Any] = {
        "rope_type": "default",
        "rope_theta": fraction("rope.freq_base", DEFAULT_THETA),
    }
    scaling = gguf.text(f"{architecture}.rope.scaling.type")
    if scaling == "linear":
        rope |= {"rope_type": "linear", "factor": fraction("rope.scaling.factor")}
    elif scaling not in (None, "none"):
        _refuse(gguf, f"scales RoPE by {scaling}, which adec does not do on torch")
    tokens = gguf.array(TOKENS)
    head = number("attention.key_length", width // heads)
    bias = "blk.0.attn_q.bias" in gguf.tensors
    output_bias = "blk.0.attn_output.bias" in gguf.tensors
    if architecture == "llama" and bias != output_bias:
        _refuse(gguf, "has biases in some of its attention's projections only")
    return {
        "vocab_size": 0 if tokens is None else tokens.count,
        "hidden_size": width,
        "intermediate_size": number("feed_forward_length"),
        "num_hidden_layers": number("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": number("attention.head_count_kv", heads),
        "head_dim": head,
        "hidden_act": "silu",
        "max_position_embeddings": number("context_length"),
        "rms_norm_eps": fraction("attention.layer_norm_rms_epsilon"),
        "rope_parameters": rope,
        "attention_bias": architecture != "qwen2" and bias,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
    }


def _sources(
    gguf: GgufFile, architecture: str, config: dict[str, Any]
) -> Iterator[tuple[str, Source]]:
    """Every weight of the module, its tensor checked for its shape."""
    width, inner, head = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    heads, shared = config["num_attention_heads"], config["num_key_value_heads"]
    # llama.cpp's RoPE turns neighbours in a llama, and the two halves of a head elsewhere
    turned = architecture == "llama"

    def found(name: str, shape: tuple[int, ...], turned_heads: int = 0) -> Source:
        tensor = gguf.tensors.get(name)
        if tensor is None:
            _refuse(gguf, f"lacks the tensor {name}")
        if tensor.shape[::-1] != shape:
            _refuse(gguf, f"has the tensor {name} of shape {list(tensor.shape)}")
        return Source(tensor, turned_heads if turned else 0)

    vocabulary = config["vocab_size"]
    yield "model.embed_tokens.weight", found("token_embd.weight", (vocabulary, width))
    yield "model.norm.weight", found("output_norm.weight", (width,))
    if "output.weight" in gguf.tensors:
        yield "lm_head.weight", found("output.weight", (vocabulary, width))
    with_bias = architecture == "qwen2" or config["attention_bias"]
    for layer in range(config["num_hidden_layers"]):
        to, at = f"model.layers.{layer}.", f"blk.{layer}."
        yield f"{to}input_layernorm.weight", found(f"{at}attn_norm.weight", (width,))
        yield f"{to}post_attention_layernorm.weight", found(f"{at}ffn_norm.weight", (width,))
        for part, count in (("q", heads), ("k", shared), ("v", shared)):
            rows, order = count * head, 0 if part == "v" else count
            name = f"{to}self_attn.{part}_proj."
            yield f"{name}weight", found(f"{at}attn_{part}.weight", (rows, width), order)
            if with_bias:
                yield f"{name}bias", found(f"{at}attn_{part}.bias", (rows,), order)
        out = f"{to}self_attn.o_proj."
        yield f"{out}weight", found(f"{at}attn_output.weight", (width, heads * head))
        if config["attention_bias"]:
            yield f"{out}bias", found(f"{at}attn_output.bias", (width,))
        if architecture == "qwen3":
            for part in ("q", "k"):
                norm = f"{to}self_attn.{part}_norm.weight"
                yield norm, found(f"{at}attn_{part}_norm.weight", (head,))
        for part in ("gate", "up"):
            yield f"{to}mlp.{part}_proj.weight", found(f"{at}ffn_{part}.weight", (inner, width))
        yield f"{to}mlp.down_proj.weight", found(f"{at}ffn_down.weight", (width, inner))


def _refuse(gguf: GgufFile, what: str) -> NoReturn:
    gguf.fail(what, _HINT)
