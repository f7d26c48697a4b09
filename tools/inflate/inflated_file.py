"""The file of an inflated model: header, tokenizer, and tensors, written one after another."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Kind
from tokenizers import pre_tokenizers

from tools.inflate.inflated_tensors import Bytes, Floats, bytes_of
from tools.llama_gguf import add_canvas, begin_llama
from tools.train import tokenizer as names
from tools.train.llama_model import Shape

FILE_TYPES = {
    Kind.Q4_0: gguf.LlamaFileType.MOSTLY_Q4_0,
    Kind.Q8_0: gguf.LlamaFileType.MOSTLY_Q8_0,
    Kind.F16: gguf.LlamaFileType.MOSTLY_F16,
    Kind.F32: gguf.LlamaFileType.ALL_F32,
}


@dataclass(frozen=True, slots=True)
class Size(Shape):
    """The sizes of a file to write."""

    width: int = 2048
    layers: int = 22
    feed_forward: int = 5120
    head: int = 32
    """An inflated model keeps its source's, since RoPE depends on it."""
    vocabulary: int = 0
    """0: as many tokens as the source has."""
    kind: Kind = Kind.Q4_0


@dataclass(frozen=True, slots=True)
class Planned:
    """A tensor that is made just before it is written."""

    name: str
    shape: tuple[int, ...]
    kind: Kind
    make: Callable[[np.random.Generator], Bytes | Floats]


@dataclass(frozen=True, slots=True)
class Written:
    """A finished file and its size."""

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
    out: Path,
    name: str,
    size: Size,
    context: int,
    theta: float,
    eps: float,
    mask: int | None = None,
) -> gguf.GGUFWriter:
    """A writer that has the sizes. `theta` is the base of RoPE, `eps` that of the RMS norms,
    `mask` the mask token of a diffusion model."""
    writer = begin_llama(
        out,
        name,
        "Made to measure time; see python -m tools.inflate --help.",
        size,
        context=context,
        theta=theta,
        eps=eps,
        file_type=FILE_TYPES[size.kind],
        architecture="llama" if mask is None else "llada",
    )
    if mask is not None:
        # the row before a position scores it, as in the form of Dream
        add_canvas(writer, mask=mask, shift=True)
    return writer


def make_up_tokenizer(writer: gguf.GGUFWriter, vocabulary: int) -> None:
    """Add a tokenizer of `vocabulary` meaningless tokens."""
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
    """Write the header, then one tensor after another; an unfinished file has another name."""
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
