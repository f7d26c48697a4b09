"""A GGUF file made of another one's tensors: fewer blocks, or blocks from several files.

Nothing is computed anew. Tensors are copied piece by piece, the header pair by pair as its bytes,
but for what speaks of the blocks: their number, values given a block each, and the model's name.
"""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from adec.engines.llama.gguf.gguf_reader import TENSOR_TYPES
from adec.engines.llama.gguf.gguf_split import read_model
from adec.engines.llama.gguf.gguf_values import ARRAY, SCALARS, STRING, Array, GgufFile, Tensor
from adec.errors import ModelFileError
from adec.whole_file import whole_bytes

PLAIN_LISTS = frozenset(
    [
        "llama", "qwen2", "qwen2moe", "qwen3", "qwen3moe", "olmo", "olmo2", "granite", "internlm2",
        "starcoder2", "stablelm", "falcon", "gpt2", "gptneox", "phi2", "command-r", "nemotron",
    ]
)  # fmt: skip
"""Architectures whose blocks are alike: none does another thing because of its number."""

LEFT_OUT = "adec.left_out_blocks"
"""Key under which a file says which blocks of its origin it lacks, as the origin counts them."""

_EACH = frozenset(
    [
        "feed_forward_length",
        "attention.head_count",
        "attention.head_count_kv",
        "attention.sliding_window",
        "attention.sliding_window_pattern",
    ]
)
"""Values that may be given a block each."""
_PIECE = 1 << 22
"""Bytes that are copied at once."""
_SPARE = 1 << 20
_UINT32, _INT32 = 4, 5
_U32, _U64 = SCALARS[_UINT32], SCALARS[10]
_TYPE_NUMBERS = {name: number for number, (name, _, _) in TENSOR_TYPES.items()}

_COPIED: Mapping[str, Callable[[], bytes]] = {}

Progress = Callable[[float], None]


def check_plain_list(path: Path) -> GgufFile:
    """The header of a GGUF model from which blocks can be left out. Raises ModelFileError."""
    gguf = read_model(path)
    architecture = gguf.text("general.architecture")
    if architecture not in PLAIN_LISTS:
        gguf.fail(
            f"is a {architecture}, whose blocks are not known to be alike",
            f"blocks can be left out of {', '.join(sorted(PLAIN_LISTS))}",
        )
    if gguf.integer(f"{architecture}.nextn_predict_layers"):
        gguf.fail("has layers that predict further tokens, which depend on the others")
    return gguf


def write_without(
    path: Path, to: Path, left_out: Collection[int], progress: Progress = lambda share: None
) -> None:
    """Write the model at `path` without some of its blocks, which count from 0.

    Raises ModelFileError when it is no plain list of blocks, does not have these or would have
    none left, when `to` is one of its own files, or when the disk has no room; OSError.
    """
    gguf = check_plain_list(path)
    architecture = gguf.text("general.architecture") or ""
    blocks = gguf.integer(f"{architecture}.block_count") or 0
    wrong = [block for block in left_out if not 0 <= block < blocks]
    if wrong:
        gguf.fail(f"has no block {wrong[0]}: they count from 0 to {blocks - 1}")
    kept = [block for block in range(blocks) if block not in set(left_out)]
    if not kept:
        gguf.fail("would have no block left")
    places = {block: place for place, block in enumerate(kept)}
    tensors = []
    for tensor in gguf.tensors.values():
        block, rest = block_of(tensor.name)
        if block is None:
            tensors.append(tensor)
        elif block >= blocks:
            gguf.fail(f"has a tensor of block {block}, but {blocks} blocks")
        elif block in places:
            tensors.append(replace(tensor, name=f"blk.{places[block]}.{rest}"))
    changed = _changed(gguf, architecture, kept, blocks)
    write_gguf(gguf, to, tensors, changed, progress)


def write_gguf(
    gguf: GgufFile,
    to: Path,
    tensors: Collection[Tensor],
    changed: Mapping[str, bytes | None],
    progress: Progress = lambda share: None,
    contents: Mapping[str, Callable[[], bytes]] = _COPIED,
) -> None:
    """Write `tensors`, from whichever files they lie in, under the header of `gguf`.

    `changed`: pairs by key that replace those of the header, as bytes with their keys, or None for
    one that is left out. `contents`: by name, what tensors hold that are not copied. Raises
    ModelFileError, OSError.
    """
    sources = {tensor.path.resolve() for tensor in tensors} | {gguf.path.resolve()}
    if to.resolve() in sources:
        raise ModelFileError(f"{to} is the model itself", hint="write the new one elsewhere")
    if not to.parent.is_dir():
        raise ModelFileError(f"{to.parent} is no folder", hint="make it first")
    size = sum(tensor.bytes + gguf.alignment for tensor in tensors) + _header_size(gguf)
    free = shutil.disk_usage(to.parent).free
    if size + _SPARE > free:
        raise ModelFileError(
            f"{to.parent} has {free >> 20} MiB free, and the model takes {size >> 20} MiB"
        )
    pairs = list(_pairs(gguf, changed))
    with whole_bytes(to) as out:
        out.write(b"GGUF" + _U32.pack(3) + _U64.pack(len(tensors)) + _U64.pack(len(pairs)))
        for pair in pairs:
            out.write(pair)
        offset = 0
        for tensor in tensors:
            out.write(_string(tensor.name) + _U32.pack(len(tensor.shape)))
            out.write(struct.pack(f"<{len(tensor.shape)}Q", *tensor.shape))
            out.write(_U32.pack(_TYPE_NUMBERS[tensor.type]) + _U64.pack(offset))
            offset += tensor.bytes + -tensor.bytes % gguf.alignment
        done = 0
        for tensor in tensors:
            out.write(bytes(-out.tell() % gguf.alignment))
            if tensor.name in contents:
                out.write(contents[tensor.name]())
            else:
                with tensor.path.open("rb") as source:
                    source.seek(tensor.start)
                    _copy(source, out, tensor)
            done += tensor.bytes
            progress(done / max(1, size))


def text_pair(key: str, text: str) -> bytes:
    """A pair whose value is a text."""
    return _string(key) + _U32.pack(STRING) + _string(text)


def number_pair(key: str, number: int) -> bytes:
    """A pair whose value is an integer."""
    return _string(key) + _U32.pack(_UINT32) + _U32.pack(number)


def array_pair(key: str, numbers: Sequence[int]) -> bytes:
    """A pair whose value is a list of integers."""
    head = _U32.pack(ARRAY) + _U32.pack(_INT32) + _U64.pack(len(numbers))
    return _string(key) + head + struct.pack(f"<{len(numbers)}i", *numbers)


def renamed_pair(gguf: GgufFile, key: str, new: str) -> bytes:
    """A pair of the file under another key."""
    start, end = gguf.spans[key]
    with gguf.path.open("rb") as source:
        source.seek(start + len(_string(key)))
        return _string(new) + source.read(end - start - len(_string(key)))


def _copy(source: BinaryIO, out: BinaryIO, tensor: Tensor) -> None:
    left = tensor.bytes
    while left:
        piece = source.read(min(left, _PIECE))
        if not piece:
            raise ModelFileError(f"{tensor.path} became shorter while it was read")
        out.write(piece)
        left -= len(piece)


def _changed(
    gguf: GgufFile, architecture: str, kept: list[int], blocks: int
) -> dict[str, bytes | None]:
    """Pairs of the header that speak of the blocks."""
    count = f"{architecture}.block_count"
    changed: dict[str, bytes | None] = {
        count: number_pair(count, len(kept)),
        # a word such as 7B, which is no longer true
        "general.size_label": None,
    }
    name = gguf.text("general.name") or gguf.path.stem
    fewer = f"{name} ({len(kept)} of {blocks} blocks)"
    changed["general.name"] = text_pair("general.name", fewer)
    for key, value in gguf.values.items():
        if not key.startswith(f"{architecture}.") or not isinstance(value, Array):
            continue
        each = key.removeprefix(f"{architecture}.") in _EACH
        if value.count == blocks and (value.type == STRING or not each):
            gguf.fail(f"has {key}, of which adec does not know whether it is given a block each")
        if each and value.count == blocks:
            changed[key] = _chosen(key, value, kept)
    lacks = _lacks(gguf, blocks)
    origin = [block for block in range(blocks + len(lacks)) if block not in lacks]
    gone = sorted(lacks | {origin[block] for block in range(blocks) if block not in kept})
    changed[LEFT_OUT] = array_pair(LEFT_OUT, gone)
    return changed


def _lacks(gguf: GgufFile, blocks: int) -> set[int]:
    """The blocks that a file lacks already, as its origin counted them."""
    earlier = gguf.array(LEFT_OUT)
    if earlier is None:
        return set()
    lacks = {int(number) for number in earlier.numbers()}
    if len(lacks) != earlier.count or not all(0 <= n < blocks + len(lacks) for n in lacks):
        gguf.fail(f"has a {LEFT_OUT} that names blocks which it never had")
    return lacks


def _chosen(key: str, value: Array, kept: list[int]) -> bytes:
    width = SCALARS[value.type].size
    raw = b"".join(value.raw[block * width : (block + 1) * width] for block in kept)
    head = _U32.pack(ARRAY) + _U32.pack(value.type) + _U64.pack(len(kept))
    return _string(key) + head + raw


def _pairs(gguf: GgufFile, changed: Mapping[str, bytes | None]) -> Iterator[bytes]:
    """The pairs of the new header, in the old order, those that are new at the end."""
    with gguf.path.open("rb") as source:
        for key, (start, end) in gguf.spans.items():
            if key.startswith("split."):  # all parts become one file
                continue
            if key in changed:
                pair = changed[key]
                if pair is not None:
                    yield pair
                continue
            source.seek(start)
            yield source.read(end - start)
    for key, pair in changed.items():
        if key not in gguf.spans and pair is not None:
            yield pair


def _header_size(gguf: GgufFile) -> int:
    return max((end for _, end in gguf.spans.values()), default=0) + 128 * len(gguf.tensors)


def block_of(name: str) -> tuple[int | None, str]:
    """The number of the block in a tensor's name, None for none, and what follows it."""
    mark, _, rest = name.partition(".")
    number, _, rest = rest.partition(".")
    if mark == "blk" and number.isascii() and number.isdigit() and len(number) < 6:
        return int(number), rest
    return None, name


def _string(text: str) -> bytes:
    raw = text.encode()
    return _U64.pack(len(raw)) + raw
