"""A trained model as a Hugging Face folder and as GGUF, with the same values in both."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gguf
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor

from tools.llama_gguf import add_canvas, add_tokenizer, begin_llama, interleave
from tools.train import tokenizer as tokens
from tools.train.llama_model import CONTEXT, NORM_EPS, ROPE_THETA, SHAPES, Shape

if TYPE_CHECKING:
    from collections.abc import Mapping


def export(checkpoint: Mapping[str, Any], out: Path) -> tuple[Path, Path]:
    """Write `<out>/<name>/` and `<out>/practice-<name>.gguf`; returns both paths."""
    name = str(checkpoint["name"])
    shape = SHAPES[name]
    tokenizer = Tokenizer.from_str(str(checkpoint["tokenizer"]))
    # training multiplied in bfloat16; as float16, in the GGUF, the values stay the same
    weights = {
        key: value.cpu().to(torch.bfloat16)
        for key, value in hugging_face_names(checkpoint["model"], shape)
    }
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    described = configurations(shape) if shape.causal else canvas_configurations(shape)
    for file, content in described.items():
        (folder / file).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    tokenizer.save(str(folder / "tokenizer.json"))
    if not shape.causal:
        biases = {
            f"model.layers.{layer}.self_attn.{part}_proj.bias": torch.zeros(shape.width).bfloat16()
            for layer in range(shape.layers)
            for part in "qkv"
        }
        stored = folder / "model.safetensors"
        save_file({**weights, **biases}, stored, metadata={"format": "pt"})
        stored.chmod(0o644)
    path = out / f"practice-{name}.gguf"
    _write_gguf(path, name, shape, weights, tokenizer)
    return folder, path


def hugging_face_names(state: Mapping[str, Tensor], shape: Shape) -> Iterator[tuple[str, Tensor]]:
    """The weights under the names of `LlamaForCausalLM`, with fused projections split."""
    yield "model.embed_tokens.weight", state["embedding.weight"]
    yield "model.norm.weight", state["norm"]
    for layer in range(shape.layers):
        ours, theirs = f"blocks.{layer}.", f"model.layers.{layer}."
        yield theirs + "input_layernorm.weight", state[ours + "attention_norm"]
        yield theirs + "post_attention_layernorm.weight", state[ours + "hidden_norm"]
        for part, weight in zip("qkv", state[ours + "qkv.weight"].chunk(3), strict=True):
            yield f"{theirs}self_attn.{part}_proj.weight", weight.contiguous()
        yield theirs + "self_attn.o_proj.weight", state[ours + "out.weight"]
        gate, up = state[ours + "gate_up.weight"].chunk(2)
        yield theirs + "mlp.gate_proj.weight", gate.contiguous()
        yield theirs + "mlp.up_proj.weight", up.contiguous()
        yield theirs + "mlp.down_proj.weight", state[ours + "down.weight"]


def from_hugging_face_names(state: Mapping[str, Tensor], shape: Shape) -> dict[str, Tensor]:
    """The inverse of `hugging_face_names`, in float32."""

    def joined(layer: int, *parts: str) -> Tensor:
        names = (f"model.layers.{layer}.{part}.weight" for part in parts)
        return torch.cat([state[name].float() for name in names])

    result = {
        "embedding.weight": state["model.embed_tokens.weight"].float(),
        "norm": state["model.norm.weight"].float(),
    }
    for layer in range(shape.layers):
        ours = f"blocks.{layer}."
        result[ours + "attention_norm"] = joined(layer, "input_layernorm")
        result[ours + "hidden_norm"] = joined(layer, "post_attention_layernorm")
        heads = [f"self_attn.{part}_proj" for part in "qkv"]
        result[ours + "qkv.weight"] = joined(layer, *heads)
        result[ours + "out.weight"] = joined(layer, "self_attn.o_proj")
        result[ours + "gate_up.weight"] = joined(layer, "mlp.gate_proj", "mlp.up_proj")
        result[ours + "down.weight"] = joined(layer, "mlp.down_proj")
    return result


def configurations(shape: Shape, theta: float = ROPE_THETA) -> dict[str, dict[str, Any]]:
    """The JSON files of a Hugging Face folder, by name. `theta` is the base of RoPE."""
    ends = {"eos_token_id": tokens.END_ID, "pad_token_id": tokens.PAD_ID, "bos_token_id": None}
    return {
        "config.json": {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": shape.vocabulary,
            "hidden_size": shape.width,
            "intermediate_size": shape.feed_forward,
            "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.heads,
            "head_dim": shape.head,
            "hidden_act": "silu",
            "max_position_embeddings": CONTEXT,
            "rms_norm_eps": NORM_EPS,
            "rope_theta": theta,
            "rope_parameters": {"rope_type": "default", "rope_theta": theta},
            "tie_word_embeddings": True,
            "attention_bias": False,
            "mlp_bias": False,
            "attention_dropout": 0.0,
            "dtype": "bfloat16",
            "use_cache": True,
            **ends,
        },
        "generation_config.json": {"do_sample": False, **ends},
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": CONTEXT,
            "eos_token": tokens.END,
            "pad_token": tokens.PAD,
            "additional_special_tokens": [tokens.USER, tokens.ASSISTANT],
            "add_bos_token": False,
            "add_eos_token": False,
            "clean_up_tokenization_spaces": False,
            "chat_template": tokens.CHAT_TEMPLATE,
        },
    }


def canvas_configurations(shape: Shape) -> dict[str, dict[str, Any]]:
    """As `configurations`, for a canvas model in the form of Dream: Qwen2's, with zero biases."""
    result = configurations(shape)
    config, settings = result["config.json"], result["tokenizer_config.json"]
    for key in ("attention_bias", "mlp_bias", "head_dim", "rope_parameters"):
        del config[key]
    mask = shape.vocabulary - 1
    config |= {"architectures": ["DreamModel"], "model_type": "Dream", "mask_token_id": mask}
    config["use_cache"] = False
    settings |= {"mask_token": tokens.MASK}
    result["generation_config.json"]["mask_token_id"] = mask
    return result


def _write_gguf(
    path: Path, name: str, shape: Shape, weights: Mapping[str, Tensor], tokenizer: Tokenizer
) -> None:
    writer = begin_llama(
        path,
        f"practice {name}",
        "Trained on generated problems; see README.md beside the file.",
        shape,
        context=CONTEXT,
        theta=ROPE_THETA,
        eps=NORM_EPS,
        file_type=gguf.LlamaFileType.MOSTLY_F16,
        architecture="llama" if shape.causal else "llada",
    )
    if not shape.causal:
        add_canvas(writer, mask=shape.vocabulary - 1, shift=True)
    add_tokenizer(
        writer,
        json.loads(tokenizer.to_str()),
        vocabulary=shape.vocabulary,
        end=tokens.END_ID,
        pad=tokens.PAD_ID,
        template=tokens.CHAT_TEMPLATE,
    )
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, shape.layers)
    for key, weight in weights.items():
        stored = names.get_name(key, try_suffixes=(".weight",))
        if stored is None:
            raise ValueError(f"GGUF has no name for {key}")
        if key.endswith(("q_proj.weight", "k_proj.weight")):
            weight = interleave(weight, shape.heads)
        kind = torch.float32 if weight.ndim == 1 else torch.float16
        writer.add_tensor(stored, weight.to(kind).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
