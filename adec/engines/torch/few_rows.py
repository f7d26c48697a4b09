"""Products of a few rows with a weight, the other way round where that is faster.

A draft is verified by a forward of two to five tokens. torch's product of so few rows with a large
matrix may take three times as long as that of one, where weight times states, transposed, takes
half of it. Which of them is faster depends on the processor and on the library that torch was built
with, so it is measured once on a machine, and kept.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from adec.engines.model_key import key_of
from adec.machine import processor
from adec.places import kept_folder
from adec.whole_file import whole_file

FEW = range(2, 6)
"""Rows of a product that is turned round. One row has code of its own in torch, and from six on it
depends on the weight's shape which way is faster."""
TIMED = (4, (4096, 1536))
"""Rows, and the shape of the weight, of the product that is timed: of a small model's size."""
ROUNDS = 4
"""How often both ways are timed, in turn; the first round warms up, the shortest time counts."""
MARGIN = 0.8
"""Share of torch's time up to which the other way is taken."""
FILE_BYTES = 256

_turned: ContextVar[bool] = ContextVar("turned", default=False)
_known: dict[str, bool] = {}
"""What this process goes by, by machine and torch's version."""


class TurnedLinear(nn.Linear):
    """A linear layer that multiplies few rows the other way round, under `turned`."""

    def forward(self, input: Tensor) -> Tensor:
        """See `nn.Linear`."""
        columns = input.shape[-1]
        if not _turned.get() or input.numel() // columns not in FEW:
            return linear(input, self.weight, self.bias)
        rows = multiply(input.reshape(-1, columns), self.weight)
        if self.bias is not None:
            rows += self.bias
        return rows.view(*input.shape[:-1], self.out_features)


def multiply(rows: Tensor, weight: Tensor) -> Tensor:
    """`rows` (n, columns) times the transposed `weight` (out, columns), as weight times rows."""
    return (weight @ rows.T).T.contiguous()


def turn(module: nn.Module) -> None:
    """Let every plain linear layer multiply few rows the other way round, under `turned`."""
    for layer in module.modules():
        if type(layer) is nn.Linear:
            layer.__class__ = TurnedLinear


@contextmanager
def turned() -> Iterator[None]:
    """Few rows are multiplied the other way round meanwhile, in this thread."""
    before = _turned.set(True)
    try:
        yield
    finally:
        _turned.reset(before)


def turned_is_faster(clock: Callable[[], float] = perf_counter) -> bool:
    """Whether this machine multiplies few rows faster the other way round: kept, or measured."""
    key = key_of(platform.node(), platform.machine(), processor(), f"torch {torch.__version__}")
    if key not in _known:
        file = kept_folder("few_rows") / f"{key}.json"
        found = _read(file)
        if found is None:
            found = _measure(clock)
            _write(file, found)
        _known[key] = found
    return _known[key]


def _measure(clock: Callable[[], float]) -> bool:
    count, shape = TIMED
    weight, rows = torch.full(shape, 0.01), torch.full((count, shape[1]), 0.1)
    ways = (linear, multiply)
    times = []
    with torch.inference_mode():
        for _ in range(ROUNDS):
            for way in ways:
                began = clock()
                way(rows, weight)
                times.append(clock() - began)
    of_torch, of_ours = (min(times[start :: len(ways)]) for start in (2, 3))
    return of_ours <= MARGIN * of_torch


def _read(file: Path) -> bool | None:
    """What a file holds; None if it is not what adec wrote."""
    try:
        with file.open("rb") as opened:
            found = json.loads(opened.read(FILE_BYTES))["turned"]
        return found if type(found) is bool else None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def _write(file: Path, found: bool) -> None:
    """Keep it for later runs. If it cannot be written, it is measured again."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(file) as opened:
            opened.write(json.dumps({"turned": found}))
    except OSError:
        return
