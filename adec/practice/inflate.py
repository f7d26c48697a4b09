"""Makes a trained model as large as you like without changing what it computes.

A small trained pair says how often a draft is accepted, a large one how long a forward takes.
An inflated pair says both at once, on any machine, without a download. The function stays because

- every dimension of the residual stream, every head and every unit of the feed-forward layers
  stands in the larger model several times; what reads them splits its weights over the copies,
  so that their sum is precise even in four bits (`inflated_tensors.spread`);
- an RMS norm divides by the mean over all dimensions, so its weights and its epsilon are scaled by
  the share of the dimensions that are in use;
- additional blocks write zero: their last projections are zero, all else in them is random, and
  they are strewn between the trained ones as depth would be;
- additional tokens, named as unused, can never win: see `Guard`.

The embedding is kept as float16: a token reads one row of it, which costs no time.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType as Kind

from adec.practice.inflated_file import (
    FILE_TYPES,
    Size,
    Written,
    begin,
    copy_tokenizer,
    make_up_tokenizer,
    write_whole,
)
from adec.practice.inflated_tensors import (
    RESERVED,
    Axis,
    Bytes,
    Floats,
    Guard,
    Planned,
    Source,
    Spare,
    axis,
    bytes_of,
    check_blocks,
    inflate,
    noise,
    pack,
)

EXAMPLES = """
examples, to a pair of 1.07 billion and 33 million parameters:
  python -m adec.practice.inflate models/large large.gguf
  python -m adec.practice.inflate models/small small.gguf --quantisation Q8_0 \\
      --width 576 --layers 8 --feed-forward 1536
with a head as costly as that of a model with 32,000 tokens (1.10 billion, 33 million):
  python -m adec.practice.inflate models/large large.gguf --vocabulary 32000 --layers 20
  python -m adec.practice.inflate models/small small.gguf --vocabulary 32000 --quantisation Q8_0 \\
      --width 384 --layers 5 --feed-forward 1024
a model of 102 million parameters that has learned nothing:
  python -m adec.practice.inflate --random speed.gguf
"""


RANDOM = Size(width=640, layers=12, feed_forward=1792, vocabulary=32_000, head=64)


def inflate_folder(folder: Path, out: Path, size: Size | None = None, seed: int = 0) -> Written:
    """Writes the model of a Hugging Face folder as a larger GGUF file of the same function."""
    source = Source(folder)
    size = replace(size or Size(), head=source.head)
    vocabulary = size.vocabulary or source.vocabulary
    if vocabulary < source.vocabulary or size.layers < source.layers or size.width % size.head:
        raise ValueError(
            f"a model of {source.layers} layers and {source.vocabulary:,} tokens cannot become one"
            f" of {size.layers} and {vocabulary:,}; widths are multiples of {size.head}"
        )
    size = replace(size, vocabulary=vocabulary)
    padded = vocabulary > source.vocabulary
    residual = axis(source.width, size.width, shuffle=seed, spare=RESERVED if padded else 0)
    heads = axis(source.width, size.width)
    units = axis(source.feed_forward, size.feed_forward, shuffle=seed + 1)
    check_blocks({"width": residual, "heads": heads, "feed-forward": units}, size.kind)
    if size.kind == Kind.Q4_0 and min(residual.copies, heads.copies, units.copies) < 2:
        raise ValueError("in four bits the function stays only where all sizes at least double")
    guard = Guard.of(source, residual) if padded else None
    eps = guard.eps if guard else source.eps * residual.filled / residual.size
    plan = list(_inflated(source, size, residual, heads, units, guard))
    writer = begin(out, f"{folder.name}, inflated", size, source.context, source.theta, eps)
    copy_tokenizer(writer, source, vocabulary)
    return write_whole(writer, out, plan, seed)


def random_model(out: Path, size: Size = RANDOM, seed: int = 0) -> Written:
    """Writes a model of random weights and made-up tokens, to measure nothing but speed."""
    if size.vocabulary < 300 or size.width % size.head or size.layers < 1:
        raise ValueError(f"at least 300 tokens, a layer, and a multiple of {size.head} as width")
    writer = begin(out, "random", size, 2048, 10_000.0, 1e-5)
    make_up_tokenizer(writer, size.vocabulary)

    def matrix(name: str, rows: int, columns: int) -> Planned:
        scale = columns**-0.5
        return Planned(
            name,
            (rows, columns),
            size.kind,
            lambda rng: noise(rng, rows, columns, size.kind, scale),
        )

    plan = [matrix("token_embd", size.vocabulary, size.width)]
    for layer in range(size.layers):
        plan += _idle_block(layer, size, matrix)
    plan += [_ones("output_norm", size.width), matrix("output", size.vocabulary, size.width)]
    return write_whole(writer, out, plan, seed)


def _inflated(
    source: Source, size: Size, residual: Axis, heads: Axis, units: Axis, guard: Guard | None
) -> Iterator[Planned]:
    shrink = math.sqrt(residual.filled / size.width)
    kind, used = size.kind, residual.filled

    def linear(name: str, load: Callable[[], Floats], rows: Axis, columns: Axis) -> Planned:
        spare: Spare = "zero" if rows is residual else "random"
        shape = (rows.size, columns.size)
        return Planned(
            name, shape, kind, lambda rng: inflate(load(), rows, columns, kind, rng, spare)
        )

    def norm(name: str, theirs: str, gain: float = 0.0) -> Planned:
        def make(_: np.random.Generator) -> Floats:
            full = np.zeros(size.width, np.float32)
            full[:used] = (source.tensor(theirs) * shrink)[residual.index[:used]]
            full[used : used + RESERVED] = gain
            return full

        return Planned(name, (size.width,), Kind.F32, make)

    def idle(name: str, rows: int, columns: int) -> Planned:
        def make(rng: np.random.Generator) -> Bytes:
            if name.endswith(("attn_output", "ffn_down")):
                return np.zeros((rows, bytes_of(columns, kind)), np.uint8)
            return noise(rng, rows, columns, kind, columns**-0.5)

        return Planned(name, (rows, columns), kind, make)

    tokens = np.arange(size.vocabulary)
    floats = Kind.F32 if kind == Kind.F32 else Kind.F16

    def embedding(_: np.random.Generator) -> Bytes:
        # an added token has the embedding of a trained one: nobody should send it, and nobody need fear it
        small = pack(source.tensor("embed_tokens")[:, residual.index[:used]], floats)
        width = bytes_of(size.width, floats)
        full = np.zeros((len(tokens), width), np.uint8)
        full[:, : small.shape[1]] = small[tokens % source.vocabulary]
        if guard:
            constant = pack(np.full((1, RESERVED), guard.constant), floats)
            full[:, small.shape[1] : small.shape[1] + constant.shape[1]] = constant
        return full

    def head(rng: np.random.Generator) -> Bytes:
        rows = axis(source.vocabulary, source.vocabulary)
        full = inflate(source.tensor("embed_tokens"), rows, residual, kind, rng, "zero")
        if guard is None:
            return full
        row = np.zeros((1, size.width), np.float32)
        row[0, used : used + RESERVED] = -guard.push
        return np.concatenate([full, pack(row, kind).repeat(len(tokens) - len(full), axis=0)])

    yield Planned("token_embd", (len(tokens), size.width), floats, embedding)
    places = {(i + 1) * size.layers // source.layers - 1: i for i in range(source.layers)}
    for layer in range(size.layers):
        if layer not in places:
            yield from _idle_block(layer, size, idle)
            continue
        at, theirs = f"blk.{layer}.", f"layers.{places[layer]}."
        yield norm(at + "attn_norm", theirs + "input_layernorm")
        for part in "qk":
            load = _load(source.rotated, f"{theirs}self_attn.{part}_proj")
            yield linear(f"{at}attn_{part}", load, heads, residual)
        load = _load(source.tensor, theirs + "self_attn.v_proj")
        yield linear(at + "attn_v", load, heads, residual)
        load = _load(source.tensor, theirs + "self_attn.o_proj")
        yield linear(at + "attn_output", load, residual, heads)
        yield norm(at + "ffn_norm", theirs + "post_attention_layernorm")
        for part, rows, columns in (
            ("gate", units, residual),
            ("up", units, residual),
            ("down", residual, units),
        ):
            load = _load(source.tensor, f"{theirs}mlp.{part}_proj")
            yield linear(f"{at}ffn_{part}", load, rows, columns)
    yield norm("output_norm", "norm", guard.gain if guard else 0.0)
    yield Planned("output", (len(tokens), size.width), kind, head)


def _load(read: Callable[[str], Floats], name: str) -> Callable[[], Floats]:
    return lambda: read(name)


def _ones(name: str, width: int) -> Planned:
    return Planned(name, (width,), Kind.F32, lambda _: np.ones(width, np.float32))


def _idle_block(
    layer: int, size: Size, matrix: Callable[[str, int, int], Planned]
) -> Iterator[Planned]:
    at, width, units = f"blk.{layer}.", size.width, size.feed_forward
    yield _ones(at + "attn_norm", width)
    for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
        yield matrix(at + part, width, width)
    yield _ones(at + "ffn_norm", width)
    yield matrix(at + "ffn_gate", units, width)
    yield matrix(at + "ffn_up", units, width)
    yield matrix(at + "ffn_down", width, units)


def main() -> None:
    """Runs what the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m adec.practice.inflate",
        description="Makes a trained model larger without changing what it computes.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, nargs="?", help="a Hugging Face folder")
    parser.add_argument("out", type=Path, help="the GGUF file to write")
    parser.add_argument("--random", action="store_true", help="no folder: random weights")
    for name, meaning in (
        ("width", f"size of a hidden state (default {Size().width})"),
        ("layers", f"number of blocks (default {Size().layers})"),
        ("feed-forward", f"units of a feed-forward layer (default {Size().feed_forward})"),
        ("vocabulary", "tokens, filled up with unused ones (default: those of the folder)"),
    ):
        parser.add_argument(f"--{name}", type=int, metavar="N", help=meaning)
    parser.add_argument("--quantisation", choices=[kind.name for kind in FILE_TYPES])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if (options.folder is None) != options.random:
        parser.error("give either a folder or --random")
    wishes = {
        name: value
        for name in ("width", "layers", "feed_forward", "vocabulary")
        if (value := getattr(options, name)) is not None
    }
    size = replace(RANDOM if options.random else Size(), **wishes)
    if options.quantisation:
        size = replace(size, kind=Kind[options.quantisation])
    began = time.perf_counter()
    try:
        if options.random:
            written = random_model(options.out, size, options.seed)
        else:
            written = inflate_folder(options.folder, options.out, size, options.seed)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(f"{written}, written in {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
