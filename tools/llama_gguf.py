"""GGUF files of Llama models with as many key heads as query heads: header and tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
from torch import Tensor

from tools.train.llama_model import Shape
from tools.train.tokenizer import LLAMA_CPP_NAME


def begin_llama(
    path: Path,
    name: str,
    about: str,
    shape: Shape,
    *,
    context: int,
    theta: float,
    eps: float,
    file_type: gguf.LlamaFileType,
    architecture: str = "llama",
) -> gguf.GGUFWriter:
    """A writer that has the sizes. `theta` is the base of RoPE, `eps` that of the RMS norms.

    `architecture` may be any that has Llama's sizes and tensors, such as "llada".
    """
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name(f"adec {name}")
    writer.add_license("apache-2.0")
    writer.add_description(about)
    writer.add_context_length(context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads)
    writer.add_key_length(shape.head)
    writer.add_value_length(shape.head)
    writer.add_rope_dimension_count(shape.head)
    writer.add_rope_freq_base(theta)
    writer.add_layer_norm_rms_eps(eps)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_file_type(file_type)
    return writer


def add_canvas(writer: gguf.GGUFWriter, *, mask: int, shift: bool) -> None:
    """Add what a masked diffusion model needs; `shift`: the row at i - 1 scores position i."""
    writer.add_mask_token_id(mask)
    writer.add_diffusion_shift_logits(shift)
    writer.add_causal_attention(False)


def add_tokenizer(
    writer: gguf.GGUFWriter,
    content: dict[str, Any],
    *,
    vocabulary: int,
    end: int | None,
    pad: int | None,
    template: str | None,
) -> None:
    """Add a byte-level tokenizer, padded to `vocabulary` with tokens named as unused.

    `content` is the parsed tokenizer.json; `end` and `pad` are token ids, `template` the chat
    template.
    """
    pieces = {index: text for text, index in content["model"]["vocab"].items()}
    types = dict.fromkeys(pieces, gguf.TokenType.NORMAL)
    for entry in content["added_tokens"]:
        pieces[entry["id"]] = entry["content"]
        if entry["special"]:
            types[entry["id"]] = gguf.TokenType.CONTROL
    for index in range(vocabulary):
        if index not in pieces:
            pieces[index] = f"<|unused_{index}|>"
            types[index] = gguf.TokenType.UNUSED
    merges = content["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(LLAMA_CPP_NAME)
    writer.add_token_list([pieces[index] for index in range(vocabulary)])
    writer.add_token_types([types[index] for index in range(vocabulary)])
    writer.add_token_merges([one if isinstance(one, str) else " ".join(one) for one in merges])
    if end is not None:
        writer.add_eos_token_id(end)
        writer.add_eot_token_id(end)
    if pad is not None:
        writer.add_pad_token_id(pad)
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    if template is not None:
        writer.add_chat_template(template)


def interleave(weight: Tensor, heads: int) -> Tensor:
    """Rows of a query or key projection in llama.cpp's order.

    Its RoPE rotates neighbours, where Hugging Face's rotates the two halves of a head.
    """
    rows, columns = weight.shape
    halves = weight.reshape(heads, 2, rows // heads // 2, columns)
    return halves.swapaxes(1, 2).reshape(rows, columns).contiguous()
