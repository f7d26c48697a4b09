"""The file of an inflated model: its header, its tokenizer, and its tensors written one after the other."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Kind
from tokenizers import pre_tokenizers

from adec.practice import tokenizer as names
from adec.practice.inflated_tensors import Planned, Source, bytes_of
from adec.practice.llama_header import begin_llama

FILE_TYPES = {
    Kind.Q4_0: gguf.LlamaFileType.MOSTLY_Q4_0,
    Kind.Q8_0: gguf.LlamaFileType.MOSTLY_Q8_0,
    Kind.F16: gguf.LlamaFileType.MOSTLY_F16,
    Kind.F32: gguf.LlamaFileType.ALL_F32,
}


@dataclass(frozen=True, slots=True)
class Size:
    """What is asked for."""

    width: int = 2048
    layers: int = 22
    feed_forward: int = 5120
    vocabulary: int = 0
    """0: as many tokens as the source has."""
    kind: Kind = Kind.Q4_0
    head: int = 32
    """The size of a head. An inflated model keeps its source's, as RoPE depends on it."""


@dataclass(frozen=True, slots=True)
class Written:
    """A file and its size."""

    path: Path
    parameters: int
    bytes: int

    def __str__(self) -> str:
        bits = self.bytes * 8 / self.parameters
        return (
            f"{self.path}: {self.parameters:,} parameters, {self.bytes:,} bytes,"
            f" {bits:.2f} bits a parameter"
        )


def begin(
    out: Path, name: str, size: Size, context: int, theta: float, eps: float
) -> gguf.GGUFWriter:
    """A writer that knows the sizes of a Llama model. `theta`: base of RoPE; `eps`: of its RMS norms."""
    return begin_llama(
        out,
        name,
        "Made to measure time; see python -m adec.practice.inflate --help.",
        width=size.width,
        layers=size.layers,
        feed_forward=size.feed_forward,
        head=size.head,
        vocabulary=size.vocabulary,
        context=context,
        theta=theta,
        eps=eps,
        file_type=FILE_TYPES[size.kind],
    )


def copy_tokenizer(writer: gguf.GGUFWriter, source: Source, vocabulary: int) -> None:
    """The source's tokenizer, filled up to `vocabulary` with tokens named as unused."""
    content = json.loads((source.folder / "tokenizer.json").read_text("utf-8"))
    settings = json.loads((source.folder / "tokenizer_config.json").read_text("utf-8"))
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
    writer.add_tokenizer_pre(names.LLAMA_CPP_NAME)
    writer.add_token_list([pieces[index] for index in range(vocabulary)])
    writer.add_token_types([types[index] for index in range(vocabulary)])
    writer.add_token_merges([one if isinstance(one, str) else " ".join(one) for one in merges])
    end, pad = source.config.get("eos_token_id"), source.config.get("pad_token_id")
    if isinstance(end, int):
        writer.add_eos_token_id(end)
        writer.add_eot_token_id(end)
    if isinstance(pad, int):
        writer.add_pad_token_id(pad)
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    if isinstance(template := settings.get("chat_template"), str):
        writer.add_chat_template(template)


def make_up_tokenizer(writer: gguf.GGUFWriter, vocabulary: int) -> None:
    """A tokenizer of `vocabulary` tokens that mean nothing."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [f"{letters[-1]}{index}" for index in range(vocabulary - len(letters) - 2)]
    pieces = [names.END, *letters, "th", *words]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(names.LLAMA_CPP_NAME)
    writer.add_token_list(pieces)
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_token_types([control, *[normal] * (vocabulary - 1)])
    writer.add_token_merges(["t h"])
    writer.add_eos_token_id(0)
    writer.add_add_bos_token(False)


def write_whole(writer: gguf.GGUFWriter, out: Path, plan: Sequence[Planned], seed: int) -> Written:
    """Writes a header and then one tensor after the other; an unfinished file has another name."""
    part = out.with_name(out.name + ".part")
    for planned in plan:
        one_row = bytes_of(planned.shape[-1], planned.kind)
        stored = (*planned.shape[:-1], one_row)
        writer.add_tensor_info(
            f"{planned.name}.weight", stored, np.dtype(np.uint8), math.prod(stored), planned.kind
        )
    try:
        with closing(writer):
            writer.write_header_to_file(part)
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
            for number, planned in enumerate(plan):
                made = planned.make(np.random.default_rng((seed, number)))
                writer.write_tensor_data(np.ascontiguousarray(made).view(np.uint8))
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    parameters = sum(math.prod(planned.shape) for planned in plan)
    return Written(out, parameters, out.stat().st_size)
