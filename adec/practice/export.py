"""Writes a trained model as a Hugging Face folder and as GGUF, with the same values in both."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gguf
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor

from adec.practice import tokenizer as tokens
from adec.practice.llama_header import begin_llama
from adec.practice.model import CONTEXT, NORM_EPS, ROPE_THETA, SHAPES, Shape

if TYPE_CHECKING:
    from collections.abc import Mapping


def export(checkpoint: Mapping[str, Any], out: Path) -> tuple[Path, Path]:
    """Writes `<out>/<name>/` and `<out>/practice-<name>.gguf`; returns both paths."""
    name = str(checkpoint["name"])
    shape = SHAPES[name]
    tokenizer = Tokenizer.from_str(str(checkpoint["tokenizer"]))
    # bfloat16 is what training multiplied with; as float16 in the GGUF the values stay the same.
    weights = {
        key: value.cpu().to(torch.bfloat16)
        for key, value in hugging_face_names(checkpoint["model"], shape)
    }
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    for file, content in configurations(shape).items():
        (folder / file).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    tokenizer.save(str(folder / "tokenizer.json"))
    path = out / f"practice-{name}.gguf"
    _write_gguf(path, name, shape, weights, tokenizer)
    return folder, path


def hugging_face_names(state: Mapping[str, Tensor], shape: Shape) -> Iterator[tuple[str, Tensor]]:
    """The weights under the names of `LlamaForCausalLM`, fused projections cut apart."""
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


def configurations(shape: Shape, theta: float = ROPE_THETA) -> dict[str, dict[str, Any]]:
    """The JSON files of a Hugging Face folder, by name. `theta`: base of RoPE."""
    ends = {"eos_token_id": tokens.END_ID, "pad_token_id": tokens.PAD_ID, "bos_token_id": None}
    return {
        "config.json": {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": shape.vocabulary,
            "hidden_size": shape.width,
            "intermediate_size": shape.hidden,
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


def _write_gguf(
    path: Path, name: str, shape: Shape, weights: Mapping[str, Tensor], tokenizer: Tokenizer
) -> None:
    writer = begin_llama(
        path,
        f"practice {name}",
        "Trained on generated problems; see README.md beside the file.",
        width=shape.width,
        layers=shape.layers,
        feed_forward=shape.hidden,
        head=shape.head,
        vocabulary=shape.vocabulary,
        context=CONTEXT,
        theta=ROPE_THETA,
        eps=NORM_EPS,
        file_type=gguf.LlamaFileType.MOSTLY_F16,
    )
    _add_tokenizer(writer, tokenizer)
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


def interleave(weight: Tensor, heads: int) -> Tensor:
    """Rows in the order of llama.cpp, which rotates neighbours where Hugging Face rotates the
    two halves of a head."""
    rows, columns = weight.shape
    halves = weight.reshape(heads, 2, rows // heads // 2, columns)
    return halves.swapaxes(1, 2).reshape(rows, columns).contiguous()


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: Tokenizer) -> None:
    content = json.loads(tokenizer.to_str())
    by_id = {index: text for text, index in tokenizer.get_vocab(with_added_tokens=True).items()}
    control = {entry["id"] for entry in content["added_tokens"] if entry["special"]}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(tokens.LLAMA_CPP_NAME)
    writer.add_token_list([by_id[index] for index in range(len(by_id))])
    writer.add_token_types([
        gguf.TokenType.CONTROL if index in control else gguf.TokenType.NORMAL
        for index in range(len(by_id))
    ])  # fmt: skip
    merges = content["model"]["merges"]
    writer.add_token_merges([
        merge if isinstance(merge, str) else " ".join(merge) for merge in merges
    ])  # fmt: skip
    writer.add_eos_token_id(tokens.END_ID)
    writer.add_eot_token_id(tokens.END_ID)
    writer.add_pad_token_id(tokens.PAD_ID)
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_chat_template(tokens.CHAT_TEMPLATE)


def main() -> None:
    """Exports one checkpoint of the training run."""
    parser = argparse.ArgumentParser(prog="python -m adec.practice.export", description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    state = torch.load(options.checkpoint, map_location="cpu", weights_only=True)
    for path in export(state, options.out):
        print(path)


if __name__ == "__main__":
    main()
