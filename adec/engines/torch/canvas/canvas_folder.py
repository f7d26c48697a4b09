"""Folders of masked diffusion models, LLaDA's and Dream's, as their config.json describes them.

Their own code is never run: the blocks are Llama's and Qwen2's without the causal mask. So the code
that their configs ask for (`auto_map`) is not needed, and is not a reason to refuse them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from adec.engines.base import CanvasFacts
from adec.errors import ModelFileError

Kind = Literal["llada", "Dream"]
KINDS: tuple[Kind, ...] = ("llada", "Dream")
"""Values of `model_type`."""

_MOST = 1 << 20
_KEYS: Mapping[Kind, Mapping[str, str]] = MappingProxyType(
    {
        "llada": {
            "layers": "n_layers",
            "width": "d_model",
            "feed_forward": "mlp_hidden_size",
            "heads": "n_heads",
            "kv_heads": "n_kv_heads",
        },
        "Dream": {
            "layers": "num_hidden_layers",
            "width": "hidden_size",
            "feed_forward": "intermediate_size",
            "heads": "num_attention_heads",
            "kv_heads": "num_key_value_heads",
        },
    }
)
_LLADA_NAMES = MappingProxyType(
    {
        "self_attn.q_proj": "q_proj",
        "self_attn.k_proj": "k_proj",
        "self_attn.v_proj": "v_proj",
        "self_attn.o_proj": "attn_out",
        "mlp.gate_proj": "ff_proj",
        "mlp.up_proj": "up_proj",
        "mlp.down_proj": "ff_out",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ff_norm",
    }
)


@dataclass(frozen=True, slots=True)
class CanvasShape:
    """The sizes of a canvas model, and how its file names its weights."""

    kind: Kind
    layers: int
    width: int
    feed_forward: int
    heads: int
    kv_heads: int
    vocabulary: int
    context: int
    theta: float
    eps: float
    tied: bool

    def stored_name(self, name: str) -> str:
        """The name in the file of a weight of `canvas_module`: "layers.3.mlp.up_proj.weight"."""
        if self.kind == "Dream":
            return "lm_head.weight" if name == "head.weight" else f"model.{name}"
        outer = {"embed_tokens": "wte", "norm": "ln_f", "head": "ff_out"}
        first, _, rest = name.partition(".")
        if first in outer:
            return f"model.transformer.{outer[first]}.{rest}"
        layer, _, part = rest.partition(".")
        part, _, ending = part.rpartition(".")
        return f"model.transformer.blocks.{layer}.{_LLADA_NAMES[part]}.{ending}"


def is_canvas(config: Mapping[str, Any]) -> bool:
    """Whether config.json is that of a masked diffusion model that adec knows."""
    return config.get("model_type") in KINDS


def canvas_facts(path: Path, config: Mapping[str, Any]) -> CanvasFacts:
    """The mask and the shift. Raises ModelFileError when there is no mask token."""
    size, mask = config.get("vocab_size"), config.get("mask_token_id")
    if type(mask) is not int or type(size) is not int or not 0 <= mask < size:
        raise ModelFileError(
            f"{path / 'config.json'} names no mask token (mask_token_id)",
            hint="a diffusion model cannot run without it: download the folder again",
        )
    return CanvasFacts(mask, shift=config["model_type"] == "Dream", reuses=True)


def canvas_shape(path: Path, config: Mapping[str, Any]) -> CanvasShape:
    """The sizes. Raises ModelFileError when one is missing, or of a kind that is not supported."""
    file = path / "config.json"
    kind: Kind = "Dream" if config["model_type"] == "Dream" else "llada"
    keys = _KEYS[kind]

    def number(key: str, default: int | None = None) -> int:
        value = config.get(key)
        value = default if value is None else value
        if type(value) is not int or not 1 <= value <= _MOST << 4:
            raise ModelFileError(f"{file} has no {key} that is an integer above 0")
        return value

    def real(key: str, default: float) -> float:
        value = config.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e12:
            raise ModelFileError(f"{file} has a {key} that is no number above 0")
        return float(value)

    scaling = config.get("rope_scaling")
    if scaling:
        raise ModelFileError(f"{file} scales its RoPE (rope_scaling), which adec does not")
    heads, width = number(keys["heads"]), number(keys["width"])
    kv_heads = number(keys["kv_heads"], heads)
    if width % heads or heads % kv_heads or width // heads % 2:
        raise ModelFileError(
            f"{file} has {heads} heads, {kv_heads} for keys, in a width of {width}"
        )
    return CanvasShape(
        kind,
        number(keys["layers"]),
        width,
        number(keys["feed_forward"]),
        heads,
        kv_heads,
        number("vocab_size"),
        number("max_position_embeddings", number("max_sequence_length", 2048)),
        real("rope_theta", 10_000.0),
        real("rms_norm_eps", 1e-5 if kind == "llada" else 1e-6),
        config.get("tie_word_embeddings", config.get("weight_tying")) is True,
    )
