"""Matrices as those of a model's first layers, in two number formats, for forwards that are timed.

They have the model's shapes and constant values, so that nothing needs to be loaded for it. Nearly
all the time of a forward on a processor goes into such products.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import torch
from torch.nn.functional import linear

from adec.engines.torch.folder_files import TensorEntry
from adec.engines.torch.format_choice import SEVERAL

WORTH = 20_000_000
"""Parameters of the matrices together: more than caches hold of one format, and quickly read."""
WIDEST = 1 << 16
"""Columns of a matrix; a wider one is left out, since its input would be as wide."""
_LAYER = re.compile(r"\.(\d{1,6})\.")


class FormatProbe:
    """Forwards through a chain of matrices; an instance is a `Feed`."""

    def __init__(self, shapes: list[tuple[int, int]], formats: tuple[str, ...]) -> None:
        """`shapes`: rows and columns. Raises RuntimeError when memory does not suffice."""
        self._matrices: dict[str, list[torch.Tensor]] = {}
        self._inputs: dict[tuple[str, int, int], torch.Tensor] = {}
        for name in formats:
            dtype: torch.dtype = getattr(torch, name)
            self._matrices[name] = [torch.full(shape, 0.01, dtype=dtype) for shape in shapes]
            for width in {columns for _, columns in shapes}:
                for tokens in (1, SEVERAL):
                    x = torch.full((tokens, width), 0.1, dtype=dtype)
                    self._inputs[name, tokens, width] = x

    def __call__(self, format: str, threads: int, tokens: int) -> None:
        """Multiply `tokens` rows by every matrix."""
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        with torch.inference_mode():
            for matrix in self._matrices[format]:
                linear(self._inputs[format, tokens, matrix.shape[1]], matrix)


def layer_shapes(tensors: Mapping[str, TensorEntry]) -> list[tuple[int, int]]:
    """Rows and columns of the matrices of the first layers, `WORTH` parameters together.

    The last one is cut to fit, so that a large model costs no more than a small one.
    """
    shapes: list[tuple[int, int]] = []
    left = WORTH
    for rows, columns in _matrices(tensors):
        rows = min(rows, left // columns)
        if rows < 1:
            break
        shapes.append((rows, columns))
        left -= rows * columns
    return shapes


def _matrices(tensors: Mapping[str, TensorEntry]) -> Iterator[tuple[int, int]]:
    found = []
    for name, entry in tensors.items():
        layer = _LAYER.search(name)
        if layer is not None and len(entry.shape) == 2 and 1 < entry.shape[1] <= WIDEST:
            found.append((int(layer[1]), name, entry.shape))
    for _, _, (rows, columns) in sorted(found):
        yield rows, columns
