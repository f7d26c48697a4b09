"""The header of a GGUF file of a Llama model with as many key heads as query heads."""

from __future__ import annotations

from pathlib import Path

import gguf


def begin_llama(
    path: Path,
    name: str,
    about: str,
    *,
    width: int,
    layers: int,
    feed_forward: int,
    head: int,
    vocabulary: int,
    context: int,
    theta: float,
    eps: float,
    file_type: gguf.LlamaFileType,
) -> gguf.GGUFWriter:
    """A writer that knows the sizes. `head`: dimensions of a head; `theta`: base of RoPE; `eps`: of the RMS norms."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(f"adec {name}")
    writer.add_license("apache-2.0")
    writer.add_description(about)
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(feed_forward)
    writer.add_head_count(width // head)
    writer.add_head_count_kv(width // head)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(theta)
    writer.add_layer_norm_rms_eps(eps)
    writer.add_vocab_size(vocabulary)
    writer.add_file_type(file_type)
    return writer
