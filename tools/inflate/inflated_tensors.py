"""Matrices made larger without changing what they compute, as bytes of a GGUF tensor type.

A block-quantised type keeps four or eight bits of a weight, too few for a small trained model. A
larger model has room: every dimension of the source has several copies, a weight is the *sum* of
the weights at its copies, and the sum can be exact although no copy is. See `spread`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from gguf import GGML_QUANT_SIZES, quants
from gguf import GGMLQuantizationType as Kind
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Bytes = NDArray[np.uint8]
Spare = Literal["random", "zero"]

_QUANTISED = frozenset({Kind.Q4_0, Kind.Q8_0})
RESERVED = 32
"""Dimensions of a `Guard`."""
_DEVIATION = {Kind.Q4_0: 4.61, Kind.Q8_0: 73.6}
"""Standard deviation of uniform four-bit and eight-bit numbers, in steps."""


@dataclass(frozen=True, slots=True)
class Axis:
    """The `n` dimensions of the source in a larger axis: whole copies, then spare dimensions.

    `index` has an entry for each dimension of the target: the source's dimension, -1 for a spare
    one.
    """

    n: int
    copies: int
    index: NDArray[np.int64]

    @property
    def size(self) -> int:
        return len(self.index)

    @property
    def filled(self) -> int:
        """Dimensions that are not spare; they come first."""
        return self.n * self.copies

    def order(self, copy: int) -> NDArray[np.int64]:
        """The source's dimensions in the order of one copy."""
        return self.index[copy * self.n : (copy + 1) * self.n]


def axis(n: int, size: int, *, shuffle: int | None = None, spare: int = 0) -> Axis:
    """As many copies of `n` dimensions as fit into `size` with `spare` left over.

    `shuffle` seeds another order for every copy but the first. llama.cpp rounds activations to
    eight bits in blocks of 32, relative to the largest of a block: a value with other neighbours is
    rounded differently, so the errors of the copies average out. Raises ValueError when nothing
    fits.
    """
    copies = (size - spare) // n
    if copies < 1:
        raise ValueError(f"{n} dimensions and {spare} spare ones do not fit into {size}")
    orders = [np.arange(n)] * copies
    if shuffle is not None:
        rng = np.random.default_rng(shuffle)
        orders[1:] = [rng.permutation(n) for _ in orders[1:]]
    rest = np.full(size - n * copies, -1)
    return Axis(n, copies, np.concatenate([*orders, rest]))


def check_blocks(axes: dict[str, Axis], kind: Kind) -> None:
    """Raise ValueError unless copies and spare dimensions begin at a block of weights."""
    block = GGML_QUANT_SIZES[kind][0]
    for name, one in axes.items():
        if one.size % block or (one.n % block and one.filled != one.n):
            raise ValueError(
                f"{name}: {one.n} inflated to {one.size}, but {kind.name} stores blocks of {block}:"
                f" both must be multiples of {block}"
            )


def pack(values: Floats, kind: Kind) -> Bytes:
    """Floats (rows, columns) as bytes of a tensor type (rows, bytes)."""
    with np.errstate(over="ignore", invalid="ignore"):
        packed = quants.quantize(np.ascontiguousarray(values, dtype=np.float32), kind)
    return np.ascontiguousarray(packed).view(np.uint8)


def unpack(packed: Bytes, kind: Kind) -> Floats:
    """The values that `pack` stored, after rounding."""
    if kind not in _QUANTISED:
        dtype = np.float16 if kind == Kind.F16 else np.float32
        return packed.view(dtype).astype(np.float64)
    values: Floats = quants.dequantize(packed, kind).astype(np.float64)
    return values


def bytes_of(columns: int, kind: Kind) -> int:
    """Bytes of a row."""
    block, size = GGML_QUANT_SIZES[kind]
    return columns // block * size


def noise(rng: np.random.Generator, rows: int, columns: int, kind: Kind, scale: float) -> Bytes:
    """Random weights of standard deviation `scale`, (rows, bytes).

    Quantised blocks get random numbers below one fixed step: no pass over floats, and neither
    zeros nor denormals that a processor would treat in another time than trained weights.
    """
    if kind not in _QUANTISED:
        values = rng.standard_normal((rows, columns), dtype=np.float32)
        values *= np.float32(scale)
        return pack(values, kind)
    block, size = GGML_QUANT_SIZES[kind]
    step = np.array([[scale], [-scale]], np.float16) / np.float16(_DEVIATION[kind])
    shape = (rows, columns // block, size - 2)
    blocks = np.empty((*shape[:2], size), np.uint8)
    # four-bit numbers have a mean of -1/2: every other block is negated
    blocks[..., :2] = np.resize(step.view(np.uint8), (*shape[:2], 2))
    if kind == Kind.Q4_0:
        blocks[..., 2:] = np.frombuffer(rng.bytes(int(np.prod(shape))), np.uint8).reshape(shape)
    else:  # never -128: kernels take the absolute value in eight bits
        blocks[..., 2:] = rng.integers(-127, 128, shape, np.int8).view(np.uint8)
    return blocks.reshape(rows, bytes_of(columns, kind))


def spread(weight: Floats, columns: Axis, kind: Kind) -> Bytes:
    """A weight cut into one part a copy of its column: (rows, n) to the bytes of (rows, filled).

    The input is the same at every copy, so only the sum of the parts counts. Every copy takes an
    equal share of what is still missing *after rounding*, so the last share is wrong by one
    rounding of a small number and the others by nothing. One copy more takes just that error,
    at the fine step of its own small blocks: with c copies Q4_0 keeps 4 + log2(c - 1) + 4 bits of
    a weight. Floats need no such copy.
    """
    extra = 1 if kind in _QUANTISED and columns.copies > 1 else 0
    shares = columns.copies - extra
    missing = weight.astype(np.float64)
    parts = []
    for copy in range(columns.copies):
        order = columns.order(copy)
        part = pack(missing[:, order] / max(shares - copy, 1), kind)
        missing[:, order] -= unpack(part, kind)
        parts.append(part)
    return np.concatenate(parts, axis=1)


def inflate(
    weight: Floats, rows: Axis, columns: Axis, kind: Kind, rng: np.random.Generator, spare: Spare
) -> Bytes:
    """A matrix (rows.n, columns.n) as the bytes of (rows.size, columns.size).

    The copies of a row are the same bytes, so their outputs are the same bits. `spare` fills the
    rows and columns of spare dimensions: "random" for a matrix that reads the residual stream
    (what is spare there is zero after the norm, and what it writes is not read), "zero" for
    one that writes to it.
    """
    fill: Callable[[int, int], Bytes]
    if spare == "random":
        scale = columns.size**-0.5
        fill = lambda r, c: noise(rng, r, c, kind, scale)  # noqa: E731
    else:
        fill = lambda r, c: np.zeros((r, bytes_of(c, kind)), np.uint8)  # noqa: E731
    small = spread(weight, columns, kind)
    full = np.empty((rows.size, bytes_of(columns.size, kind)), np.uint8)
    full[: rows.filled, : small.shape[1]] = small[rows.index[: rows.filled]]
    full[: rows.filled, small.shape[1] :] = fill(rows.filled, columns.size - columns.filled)
    full[rows.filled :] = fill(rows.size - rows.filled, columns.size)
    return full
