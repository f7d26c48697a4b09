"""The plan of an inflated model: which tensor of the file is made from what."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType as Kind

from tools.inflate.inflated_file import (
    Planned,
    Size,
    Written,
    begin,
    make_up_tokenizer,
    write_whole,
)
from tools.inflate.inflated_folder import write_folder
from tools.inflate.inflated_tensors import (
    RESERVED,
    Axis,
    Bytes,
    Floats,
    Spare,
    axis,
    bytes_of,
    check_blocks,
    inflate,
    noise,
    pack,
)
from tools.inflate.source_model import Guard, Source
from tools.llama_gguf import add_tokenizer

RANDOM = Size(width=640, layers=12, feed_forward=1792, vocabulary=32_000, head=64)


def inflate_folder(folder: Path, out: Path, size: Size | None = None, seed: int = 0) -> Written:
    """Write the model of a Hugging Face folder as a larger GGUF file of the same function, or as a
    larger folder in float16 where `out` does not end in .gguf.

    Raises ValueError when the sizes do not fit.
    """
    source = Source(folder)
    size = replace(size or Size(), head=source.head)
    as_folder = out.suffix != ".gguf"
    if as_folder:
        size = replace(size, kind=Kind.F16)
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
    plan = list(_inflated(source, size, residual, heads, units, guard, halves=as_folder))
    if as_folder:
        return write_folder(source, out, size, eps, plan, seed)
    writer = begin(
        out, f"{folder.name}, inflated", size, source.context, source.theta, eps, source.mask
    )
    settings = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    add_tokenizer(
        writer,
        json.loads((folder / "tokenizer.json").read_text("utf-8")),
        vocabulary=vocabulary,
        end=source.token("eos_token_id"),
        pad=source.token("pad_token_id"),
        template=settings.get("chat_template"),
    )
    return write_whole(writer, out, plan, seed)


def random_model(out: Path, size: Size = RANDOM, seed: int = 0) -> Written:
    """Write a model of random weights and made-up tokens, to measure speed alone.

    Raises ValueError when the sizes do not fit.
    """
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
    source: Source,
    size: Size,
    residual: Axis,
    heads: Axis,
    units: Axis,
    guard: Guard | None,
    *,
    halves: bool = False,
) -> Iterator[Planned]:
    """`halves`: queries and keys in Hugging Face's order, where RoPE rotates halves of a head."""
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
        # an added token has the embedding of a trained one, in case somebody sends it
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
            projection = source.tensor if halves else source.rotated
            load = partial(projection, f"{theirs}self_attn.{part}_proj")
            yield linear(f"{at}attn_{part}", load, heads, residual)
        load = partial(source.tensor, theirs + "self_attn.v_proj")
        yield linear(at + "attn_v", load, heads, residual)
        load = partial(source.tensor, theirs + "self_attn.o_proj")
        yield linear(at + "attn_output", load, residual, heads)
        yield norm(at + "ffn_norm", theirs + "post_attention_layernorm")
        for part, rows, columns in (
            ("gate", units, residual),
            ("up", units, residual),
            ("down", residual, units),
        ):
            load = partial(source.tensor, f"{theirs}mlp.{part}_proj")
            yield linear(f"{at}ffn_{part}", load, rows, columns)
    yield norm("output_norm", "norm", guard.gain if guard else 0.0)
    yield Planned("output", (len(tokens), size.width), kind, head)


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
