"""Random masked diffusion models small enough for tests, in each form that adec reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.engines.torch.tiny_folder import CONTROL, write_tiny_folder

_LLADA = {
    "model.embed_tokens.weight": "model.transformer.wte.weight",
    "model.norm.weight": "model.transformer.ln_f.weight",
    "lm_head.weight": "model.transformer.ff_out.weight",
}
_LLADA_PARTS = {
    "self_attn.q_proj": "q_proj", "self_attn.k_proj": "k_proj", "self_attn.v_proj": "v_proj",
    "self_attn.o_proj": "attn_out", "mlp.gate_proj": "ff_proj", "mlp.up_proj": "up_proj",
    "mlp.down_proj": "ff_out", "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ff_norm",
}  # fmt: skip
MASK = CONTROL.index("<|user|>")
"""Any token that texts do not hold will do."""


def write_llada_folder(path: Path) -> tuple[Path, Path]:
    """A folder named as LLaDA's are, and the causal one with the same weights."""
    from safetensors.torch import load_file, save_file

    causal = write_tiny_folder(path / "causal", tied=False)
    folder = write_tiny_folder(path / "llada", tied=False)
    stored = load_file(folder / "model.safetensors")
    renamed = {}
    for name, weight in stored.items():
        new = _LLADA.get(name, name)
        if name.startswith("model.layers."):
            _, _, layer, rest = name.split(".", 3)
            part, _, ending = rest.rpartition(".")
            new = f"model.transformer.blocks.{layer}.{_LLADA_PARTS[part]}.{ending}"
        renamed[new] = weight
    save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    theta = config.get("rope_theta") or config["rope_parameters"]["rope_theta"]
    described = {
        "model_type": "llada", "architectures": ["LLaDAModelLM"],
        "auto_map": {"AutoModel": "modeling_llada.LLaDAModelLM"},
        "d_model": config["hidden_size"], "n_layers": config["num_hidden_layers"],
        "n_heads": config["num_attention_heads"], "n_kv_heads": config["num_key_value_heads"],
        "mlp_hidden_size": config["intermediate_size"], "rope_theta": theta,
        "rms_norm_eps": config["rms_norm_eps"], "vocab_size": config["vocab_size"],
        "max_sequence_length": 2048, "mask_token_id": MASK, "weight_tying": False,
        "eos_token_id": config["eos_token_id"],
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(described))
    return folder, causal


def _spread(name: str) -> int:
    return 6 if name.endswith(("out.weight", "down.weight")) else 4


def write_practice_form(path: Path) -> tuple[Path, Path, Any]:
    """A random model in both forms of `practice:canvas` (Dream folder, llada GGUF), and itself."""
    import torch

    from tools.train import llama_model, model_files
    from tools.train.canvas_trainer import canvas_tokenizer

    shape = llama_model.Shape(64, 2, 96, vocabulary=1281, causal=False)
    torch.manual_seed(3)
    model = llama_model.Llama(shape)
    # so that a row depends on the others more than on its own token
    state = {
        name: weight if weight.ndim == 1 else (weight * _spread(name)).bfloat16().float()
        for name, weight in model.state_dict().items()
    }
    model.load_state_dict(state)
    before = llama_model.SHAPES["canvas"]
    llama_model.SHAPES["canvas"] = shape
    try:
        checkpoint = {"name": "canvas", "tokenizer": canvas_tokenizer().to_str(), "model": state}
        folder, gguf = model_files.export(checkpoint, path)
    finally:
        llama_model.SHAPES["canvas"] = before
    return folder, gguf, model
