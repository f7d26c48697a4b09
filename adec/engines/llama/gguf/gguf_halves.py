"""A GGUF file without the attention of some blocks and the feed-forward of others.

llama.cpp runs such blocks in files of the architecture deci (Nemotron's), which is Llama's but that
each block has its own number of heads and of feed-forward neurons. Without heads a block has no
attention. A block without neurons would be left out whole, so it gets one, whose weights are zero.

Qwen 2 is Llama with biases, and turns other pairs of a head's numbers. So the rows of its queries
and keys go where deci looks for them; whole rows move, so that quantised ones stay what they are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from adec.engines.llama.gguf.gguf_copy import (
    Progress,
    array_pair,
    block_of,
    check_plain_list,
    number_pair,
    renamed_pair,
    text_pair,
    write_gguf,
)
from adec.engines.llama.gguf.gguf_values import Array, GgufFile, Tensor

WITHOUT_ATTENTION = "adec.left_out_attention"
WITHOUT_FEED_FORWARD = "adec.left_out_feed_forward"
"""Keys under which a file says of which blocks of its origin it lacks a half."""

_TO = "deci"
_TURNS_HALVES = {"llama": False, "qwen2": True}
"""Architectures that become deci, and whether they turn number i of a head with number i + d/2,
where deci turns neighbours."""
_TURNED = ("attn_q.weight", "attn_k.weight", "attn_q.bias", "attn_k.bias")
_FEED_FORWARD = ("ffn_gate.weight", "ffn_up.weight", "ffn_down.weight")


def check_halves(path: Path) -> GgufFile:
    """The header of a model whose blocks can lack a half. Raises ModelFileError."""
    gguf = check_plain_list(path)
    architecture = gguf.text("general.architecture")
    if architecture not in _TURNS_HALVES:
        gguf.fail(
            f"is a {architecture}: halves can be left out of {' and '.join(_TURNS_HALVES)} only",
            "leave out whole blocks: without --halves",
        )
    if gguf.integer(f"{architecture}.expert_count"):
        gguf.fail("has experts: halves can be left out of plain blocks only")
    return gguf


def write_halves(
    path: Path,
    to: Path,
    attention: Collection[int],
    feed_forward: Collection[int],
    progress: Progress = lambda share: None,
) -> None:
    """Write the model at `path` without these halves of its blocks, which count from 0.

    A block that loses both is gone. Raises ModelFileError when halves cannot be left out of it,
    when it does not have these blocks, when none or no attention in the first one would be left,
    when `to` is one of its own files, or when the disk has no room; OSError.
    """
    gguf = check_halves(path)
    old = gguf.text("general.architecture") or ""
    blocks = gguf.integer(f"{old}.block_count") or 0
    wrong = [block for block in (*attention, *feed_forward) if not 0 <= block < blocks]
    if wrong:
        gguf.fail(f"has no block {wrong[0]}: they count from 0 to {blocks - 1}")
    gone = set(attention) & set(feed_forward)
    kept = [block for block in range(blocks) if block not in gone]
    if not kept:
        gguf.fail("would have no block left")
    if kept[0] in attention:
        gguf.fail(f"would begin with block {kept[0]} without attention, which llama.cpp cannot run")
    places = {block: place for place, block in enumerate(kept)}
    heads, shared = _heads(gguf, old, blocks)
    tensors: list[Tensor] = []
    contents: dict[str, Callable[[], bytes]] = {}
    for source in gguf.tensors.values():
        block, rest = block_of(source.name)
        if block is None:
            tensors.append(source)
            continue
        if block not in places or (block in attention and rest.startswith("attn_")):
            continue
        tensor = replace(source, name=f"blk.{places[block]}.{rest}")
        if block in feed_forward and rest in _FEED_FORWARD:
            tensor = _one_neuron(tensor, down=rest == "ffn_down.weight")
            contents[tensor.name] = partial(bytes, tensor.bytes)
        elif _TURNS_HALVES[old] and rest in _TURNED:
            count = heads[block] if rest.startswith("attn_q") else shared[block]
            contents[tensor.name] = partial(_as_neighbours, source, count)
        tensors.append(tensor)
    changed = _changed(gguf, old, kept, blocks, attention, feed_forward)
    write_gguf(gguf, to, tensors, changed, progress, contents)


def _one_neuron(tensor: Tensor, *, down: bool) -> Tensor:
    width = tensor.shape[1] if down else tensor.shape[0]
    shape = (1, width) if down else (width, 1)
    return replace(tensor, shape=shape, type="F32", elements=width, bytes=4 * width)


def _as_neighbours(tensor: Tensor, heads: int) -> bytes:
    """The rows of a projection (or numbers of its bias), those that turn together side by side."""
    count = tensor.shape[-1]
    size, half = tensor.bytes // count, count // heads // 2
    with tensor.path.open("rb") as source:
        source.seek(tensor.start)
        raw = source.read(tensor.bytes)
    rows = [raw[at * size : (at + 1) * size] for at in range(count)]
    order = (
        head * 2 * half + pair + upper * half
        for head in range(heads)
        for pair in range(half)
        for upper in range(2)
    )
    return b"".join(rows[at] for at in order)


def _heads(gguf: GgufFile, old: str, blocks: int) -> tuple[list[int], list[int]]:
    """Of each block, for queries and for keys."""
    heads = _each(gguf, f"{old}.attention.head_count", blocks)
    return heads, _each(gguf, f"{old}.attention.head_count_kv", blocks) or heads


def _changed(
    gguf: GgufFile,
    old: str,
    kept: Sequence[int],
    blocks: int,
    attention: Collection[int],
    feed_forward: Collection[int],
) -> dict[str, bytes | None]:
    """The header's pairs under deci's names, a number a block where these differ."""
    changed: dict[str, bytes | None] = {}
    for key in gguf.values:
        if key.startswith(f"{old}."):
            changed[key] = None
            new = f"{_TO}.{key.removeprefix(f'{old}.')}"
            changed[new] = renamed_pair(gguf, key, new)
    changed["general.architecture"] = text_pair("general.architecture", _TO)
    changed["general.size_label"] = None  # a word such as 7B, which is no longer true
    name = gguf.text("general.name") or gguf.path.stem
    lacks = f"{name} (without {len(attention)} attention, {len(feed_forward)} feed-forward)"
    changed["general.name"] = text_pair("general.name", lacks)
    heads, shared = _heads(gguf, old, blocks)
    neurons = _each(gguf, f"{old}.feed_forward_length", blocks)
    head = (gguf.integer(f"{old}.embedding_length") or 0) // max(1, heads[0])
    for key in ("attention.key_length", "attention.value_length", "rope.dimension_count"):
        if gguf.integer(f"{old}.{key}") is None:
            # else llama.cpp divides by the heads of a block that has none
            changed[f"{_TO}.{key}"] = number_pair(f"{_TO}.{key}", head)
    of_block = {
        "attention.head_count": [0 if at in attention else heads[at] for at in kept],
        "attention.head_count_kv": [0 if at in attention else shared[at] for at in kept],
        "feed_forward_length": [1 if at in feed_forward else neurons[at] for at in kept],
    }
    for key, numbers in of_block.items():
        changed[f"{_TO}.{key}"] = array_pair(f"{_TO}.{key}", numbers)
    changed[f"{_TO}.block_count"] = number_pair(f"{_TO}.block_count", len(kept))
    for key, left_out in ((WITHOUT_ATTENTION, attention), (WITHOUT_FEED_FORWARD, feed_forward)):
        changed[key] = array_pair(key, sorted(left_out))
    return changed


def _each(gguf: GgufFile, key: str, blocks: int) -> list[int]:
    """A number for each block; empty where the header does not say it."""
    value = gguf.values.get(key)
    if value is None:
        return []
    if isinstance(value, Array):
        return [int(number) for number in value.numbers()]
    return [gguf.integer(key) or 0] * blocks
