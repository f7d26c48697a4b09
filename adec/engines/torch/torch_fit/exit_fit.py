"""Learns exit classifiers from states of a frozen model, by binary cross-entropy.

The forms, and what an array is called, are those of `decoding/layers/exit_classifiers.py`, which
computes the same without torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Form = Literal["linear", "feedforward", "mamba"]
HIDDEN = {"feedforward": 32, "mamba": 16}
"""Hidden numbers of a classifier."""
STATES = 8
"""Numbers of state for each hidden one, of the Mamba form."""
STEPS = 600
RATE = 1e-2
DECAY = 0.1


def fit_classifiers(
    states: Sequence[NDArray[np.float32]],
    labels: Sequence[np.ndarray[Any, Any]],
    form: Form,
    *,
    seconds: float,
    seed: int = 0,
    tick: Callable[[float], None] = lambda share: None,
) -> tuple[dict[str, NDArray[np.float32]], float]:
    """Classifiers of one form, and their mean loss in nats at the end.

    `states`: of each answer (tokens, exits, width), as `normed`; `labels`: (tokens, exits), one
    where the exit is right. Losses of exits weigh less the higher they are, down to half: a wrong
    leave at a low one is met most often. Ends after `STEPS` steps or `seconds`.
    """
    import torch

    began = monotonic()
    torch.manual_seed(seed)
    exits, width = states[0].shape[1:]
    longest = max(len(one) for one in states)
    x = torch.zeros(len(states), longest, exits, width)
    y = torch.zeros(len(states), longest, exits)
    known = torch.zeros(len(states), longest, 1)
    for row, (one, label) in enumerate(zip(states, labels, strict=True)):
        x[row, : len(one)] = torch.from_numpy(one)
        y[row, : len(one)] = torch.from_numpy(label.astype(np.float32))
        known[row, : len(one)] = 1
    weights = known * torch.linspace(1.0, 0.5, exits)
    weights = weights / weights.sum()
    arrays = _begin(form, exits, width)
    optimizer = torch.optim.AdamW(arrays.values(), lr=RATE, weight_decay=DECAY)
    loss = torch.zeros(())
    with torch.enable_grad():
        for step in range(STEPS):
            logits = _forward(form, arrays, x)
            each = torch.nn.functional.binary_cross_entropy_with_logits(logits, y, reduction="none")
            loss = (each * weights).sum()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            spent = monotonic() - began
            tick(min(1.0, max((step + 1) / STEPS, spent / seconds)))
            if spent >= seconds:
                break
    return {name: array.detach().numpy() for name, array in arrays.items()}, float(loss.detach())


def _begin(form: Form, exits: int, width: int) -> dict[str, Any]:
    import torch

    def drawn(*shape: int) -> Any:
        return torch.randn(*shape) * shape[-1] ** -0.5

    hidden = width if form == "linear" else HIDDEN[form]
    arrays = {"weight": drawn(exits, hidden) * 0.1, "bias": torch.zeros(exits)}
    if form == "feedforward":
        arrays |= {
            "inner.weight": drawn(exits, hidden, width),
            "inner.bias": torch.zeros(exits, hidden),
        }
    elif form == "mamba":
        arrays |= {
            "inner.weight": drawn(exits, hidden, width),
            "gate.weight": drawn(exits, hidden, width),
            "step.weight": drawn(exits, hidden, hidden) * 0.1,
            "step.bias": torch.full((exits, hidden), -2.0),
            "decay": torch.arange(1, STATES + 1).float().log().repeat(exits, hidden, 1),
            "write.weight": drawn(exits, STATES, hidden),
            "read.weight": drawn(exits, STATES, hidden),
        }
    return {name: array.requires_grad_() for name, array in arrays.items()}


def _forward(form: Form, arrays: dict[str, Any], x: Any) -> Any:
    """Logits (answers, tokens, exits) of states (answers, tokens, exits, width)."""
    import torch
    from torch.nn.functional import silu, softplus

    def through(name: str, of: Any) -> Any:
        return torch.einsum("ntew,ehw->nteh", of, arrays[name])

    if form == "linear":
        y = x
    elif form == "feedforward":
        y = silu(through("inner.weight", x) + arrays["inner.bias"])
    else:
        u = through("inner.weight", x)
        dt = softplus(through("step.weight", u) + arrays["step.bias"])
        kept = torch.exp(-arrays["decay"].clamp(-20, 20).exp() * dt[..., None])
        added = (dt * u)[..., None] * through("write.weight", u)[..., None, :]
        read = through("read.weight", u)
        state = torch.zeros_like(added[:, 0])
        seen = []
        for token in range(x.shape[1]):
            state = kept[:, token] * state + added[:, token]
            seen.append((state * read[:, token, :, None, :]).sum(-1))
        y = (torch.stack(seen, 1) + u) * silu(through("gate.weight", x))
    return torch.einsum("nteh,eh->nte", y, arrays["weight"]) + arrays["bias"]
