"""An inflated model as a Hugging Face folder in float16, for engines on torch."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from gguf import GGMLQuantizationType as Kind
from safetensors.torch import save_file

from tools.inflate.inflated_file import Planned, Size, Written
from tools.inflate.source_model import Source

_NAMES = {
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}  # fmt: skip
_OUTER = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_BIASED = ("attn_q", "attn_k", "attn_v")
"""Projections to which Dream's form adds a bias, here of zeros."""


def write_folder(
    source: Source, out: Path, size: Size, eps: float, plan: Sequence[Planned], seed: int
) -> Written:
    """Write weights, config and the source's tokenizer; an unfinished folder has another name.

    Raises ValueError where `out` is there already.
    """
    if out.exists():
        raise ValueError(f"{out} is there already")
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        weights = {}
        for number, planned in enumerate(plan):
            made = np.ascontiguousarray(planned.make(np.random.default_rng((seed, number))))
            stored = np.float16 if planned.kind == Kind.F16 else np.float32
            values = made.view(stored).reshape(planned.shape)
            weights[_name(planned.name)] = torch.from_numpy(values).half()
            if source.mask is not None and planned.name.endswith(_BIASED):
                weights[_name(planned.name, "bias")] = torch.zeros(planned.shape[0]).half()
        save_file(weights, part / "model.safetensors", metadata={"format": "pt"})
        config = source.config | {
            "hidden_size": size.width,
            "intermediate_size": size.feed_forward,
            "num_hidden_layers": size.layers,
            "num_attention_heads": size.width // size.head,
            "num_key_value_heads": size.width // size.head,
            "vocab_size": size.vocabulary,
            "rms_norm_eps": eps,
            "tie_word_embeddings": False,
            "dtype": "float16",
        }
        (part / "config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")
        for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
            shutil.copy(source.folder / name, part / name)
        part.replace(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    parameters = sum(math.prod(planned.shape) for planned in plan)
    return Written(out, parameters, (out / "model.safetensors").stat().st_size)


def _name(ours: str, ending: str = "weight") -> str:
    if ours in _OUTER:
        return f"{_OUTER[ours]}.{ending}"
    _, layer, part = ours.split(".")
    return f"model.layers.{layer}.{_NAMES[part]}.{ending}"
