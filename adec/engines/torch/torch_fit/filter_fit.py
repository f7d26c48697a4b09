"""Learns the filter of Learn2PD from rows of confidences, by binary cross-entropy.

The paper: AdamW at 3e-3, all rows at once, 40,000 epochs. Here epochs end when the time does, or
when rows that were held back are no longer predicted better.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

HIDDEN = 32
RATE = 3e-3
EPOCHS = 4000
CHECK = 100
"""Epochs between looks at the rows that were held back."""
PATIENCE = 5

Rows = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
"""Confidences, labels (one where a proposal is final) and weights (one where it counts), all of
shape (rows, block)."""


def fit_unmasking_filter(
    rows: Rows,
    held: Rows,
    *,
    seconds: float,
    seed: int = 0,
    tick: Callable[[float], None] = lambda share: None,
) -> tuple[dict[str, NDArray[np.float32]], float]:
    """The filter's arrays, and its loss on `held`, in nats a position."""
    import torch
    from torch.nn import functional as F

    torch.manual_seed(seed)
    block = rows[0].shape[1]
    net = torch.nn.Sequential(
        torch.nn.Linear(block, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, block)
    )
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE)
    began = monotonic()  # the first optimizer of a process takes seconds to make
    tensors = [tuple(map(torch.from_numpy, part)) for part in (rows, held)]

    def loss_of(part: tuple[torch.Tensor, ...]) -> torch.Tensor:
        x, y, weights = part
        each = F.binary_cross_entropy_with_logits(net(x), y, reduction="none")
        return (each * weights).sum() / weights.sum().clamp(min=1)

    best, kept, worse = float("inf"), _arrays(net), 0
    for epoch in range(EPOCHS + 1):
        if epoch % CHECK == 0:
            with torch.no_grad():
                now = float(loss_of(tensors[1]))
            worse = 0 if now < best else worse + 1
            if now < best:
                best, kept = now, _arrays(net)
            spent = (monotonic() - began) / seconds
            tick(max(epoch / EPOCHS, spent))
            if worse >= PATIENCE or (epoch and spent > 1):
                break
        with torch.enable_grad():
            optimizer.zero_grad()
            loss_of(tensors[0]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return kept, best


def _arrays(net: torch.nn.Sequential) -> dict[str, NDArray[np.float32]]:
    state = {name: value.detach().numpy().copy() for name, value in net.state_dict().items()}
    return {
        "inner": state["0.weight"], "inner_bias": state["0.bias"],
        "outer": state["2.weight"], "outer_bias": state["2.bias"],
    }  # fmt: skip
