"""A trained Mamba 2 as a Hugging Face folder and as GGUF, with the same values in both."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gguf
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor

from tools.llama_gguf import add_tokenizer
from tools.train import tokenizer as tokens
from tools.train.llama_model import CONTEXT, NORM_EPS, SHAPES
from tools.train.mamba_model import MAMBA, MambaShape
from tools.train.model_files import configurations

_NAMES = {  # ours: that of transformers, that of GGUF
    "norm": ("norm.weight", "attn_norm.weight"),
    "in_proj.weight": ("mixer.in_proj.weight", "ssm_in.weight"),
    "conv": ("mixer.conv1d.weight", "ssm_conv1d.weight"),
    "conv_bias": ("mixer.conv1d.bias", "ssm_conv1d.bias"),
    "dt_bias": ("mixer.dt_bias", "ssm_dt.bias"),
    "a_log": ("mixer.A_log", "ssm_a"),
    "skip": ("mixer.D", "ssm_d"),
    "gate_norm": ("mixer.norm.weight", "ssm_norm.weight"),
    "out_proj.weight": ("mixer.out_proj.weight", "ssm_out.weight"),
}
_OUTSIDE = {
    "embedding.weight": ("backbone.embeddings.weight", "token_embd.weight"),
    "norm": ("backbone.norm_f.weight", "output_norm.weight"),
}


def export_mamba(
    checkpoint: Mapping[str, Any], out: Path, shape: MambaShape = MAMBA
) -> tuple[Path, Path]:
    """Write `<out>/mamba/` and `<out>/practice-mamba.gguf`; returns both paths."""
    tokenizer = Tokenizer.from_str(str(checkpoint["tokenizer"]))
    weights = {key: value.cpu().bfloat16() for key, value in checkpoint["model"].items()}
    folder = out / "mamba"
    folder.mkdir(parents=True, exist_ok=True)
    stored = folder / "model.safetensors"
    theirs = {theirs: weights[ours] for ours, theirs, _ in _named(shape)}
    save_file(theirs, stored, metadata={"format": "pt"})
    stored.chmod(0o644)
    for file, content in mamba_configurations(shape).items():
        (folder / file).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    tokenizer.save(str(folder / "tokenizer.json"))
    path = out / "practice-mamba.gguf"
    _write_gguf(path, shape, weights, tokenizer)
    return folder, path


def mamba_weights(folder: Path, shape: MambaShape = MAMBA) -> dict[str, Tensor]:
    """The weights of a folder that `export_mamba` wrote, under our names, in float32."""
    from safetensors.torch import load_file

    stored = load_file(folder / "model.safetensors")
    return {ours: stored[theirs].float() for ours, theirs, _ in _named(shape)}


def mamba_configurations(shape: MambaShape) -> dict[str, dict[str, Any]]:
    """The JSON files of a Hugging Face folder, by name."""
    result = configurations(SHAPES["large"])
    ends = {k: v for k, v in result["config.json"].items() if k.endswith("_token_id")}
    result["config.json"] = {
        "architectures": ["Mamba2ForCausalLM"],
        "model_type": "mamba2",
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.width,
        "num_hidden_layers": shape.layers,
        "num_heads": shape.heads,
        "head_dim": shape.head,
        "state_size": shape.state,
        "n_groups": shape.groups,
        "expand": shape.inner // shape.width,
        "conv_kernel": shape.kernel,
        "chunk_size": 64,
        "layer_norm_epsilon": NORM_EPS,
        "hidden_act": "silu",
        "use_bias": False,
        "use_conv_bias": True,
        "rms_norm": True,
        "tie_word_embeddings": True,
        "dtype": "bfloat16",
        "use_cache": True,
        **ends,
    }
    return result


def _named(shape: MambaShape) -> Iterator[tuple[str, str, str]]:
    """Our names of the weights, those of transformers, and those of GGUF."""
    for ours, (theirs, stored) in _OUTSIDE.items():
        yield ours, theirs, stored
    for layer in range(shape.layers):
        for ours, (theirs, stored) in _NAMES.items():
            yield (
                f"blocks.{layer}.{ours}",
                f"backbone.layers.{layer}.{theirs}",
                f"blk.{layer}.{stored}",
            )


def _write_gguf(
    path: Path, shape: MambaShape, weights: Mapping[str, Tensor], tokenizer: Tokenizer
) -> None:
    writer = gguf.GGUFWriter(path, "mamba2")
    writer.add_name("adec practice mamba")
    writer.add_license("apache-2.0")
    writer.add_description("Trained on generated problems; see README.md beside the file.")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_ssm_conv_kernel(shape.kernel)
    writer.add_ssm_inner_size(shape.inner)
    writer.add_ssm_state_size(shape.state)
    writer.add_ssm_time_step_rank(shape.heads)
    writer.add_ssm_group_count(shape.groups)
    writer.add_layer_norm_rms_eps(NORM_EPS)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    add_tokenizer(
        writer, json.loads(tokenizer.to_str()), vocabulary=shape.vocabulary,
        end=tokens.END_ID, pad=tokens.PAD_ID, template=tokens.CHAT_TEMPLATE,
    )  # fmt: skip
    for ours, _, stored in _named(shape):
        weight = weights[ours].float()
        kind = ours.rpartition(".")[2]
        if kind == "a_log":
            weight = -weight.exp()[:, None]
        elif kind == "skip":
            weight = weight[:, None]
        elif kind == "conv":
            weight = weight[:, 0]
        elif kind == "gate_norm":
            weight = weight.view(shape.groups, -1)
        if kind == "weight":
            weight = weight.half()
        writer.add_tensor(stored, weight.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
