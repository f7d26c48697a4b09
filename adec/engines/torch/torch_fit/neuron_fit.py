"""Learns FTWT's gates: which feed-forward neurons hold a share of the heat, from the input alone.

Decoupled, as the paper calls it: gates see a frozen model, and their only loss is binary
cross-entropy against the smallest set of neurons that holds `MASS` of the heat.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

RANK = 32
MASS = 0.9
"""Share of the heat that a token's neurons hold (paper: 0.83 to 0.92 by model)."""
STEPS = 300
BATCH = 256
RATE = 5e-3

Gated = tuple[Sequence[int], int]
"""Tokens of a prompt and its answer, and the first position that gates hold for."""


def inputs_of(module: Any, answer: Gated) -> NDArray[np.float32]:
    """What the feed-forward layers read of an answer's gated positions: (layers, tokens, width)."""
    import torch

    ids, first = answer
    seen: list[Tensor] = []

    def look(layer: int, states: Tensor) -> None:
        seen.append(states[0, first:].float())

    with torch.inference_mode(), _feed_forwards(module, look):
        module.base_model(
            input_ids=torch.tensor([list(ids)], device=module.device), use_cache=False
        )
    stacked: NDArray[np.float32] = torch.stack(seen).cpu().numpy()
    return stacked


@contextmanager
def _feed_forwards(module: Any, look: Callable[[int, Tensor], Any]) -> Iterator[None]:
    """Call `look` with the input of every feed-forward layer; what it returns is the output."""

    def hook(layer: int) -> Callable[[Any, Any, Any], Any]:
        return lambda block, given, out: look(layer, given[0])

    hooks = [
        block.mlp.register_forward_hook(hook(layer))
        for layer, block in enumerate(module.base_model.layers)
    ]
    try:
        yield
    finally:
        for one in hooks:
            one.remove()


def needed(heat: Tensor, mass: float) -> Tensor:
    """The smallest sets of neurons that hold a share of the heat (tokens, neurons), as booleans."""
    import torch

    ordered, order = heat.sort(dim=-1, descending=True)
    before = ordered.cumsum(-1) - ordered
    inside = before < mass * ordered.sum(-1, keepdim=True)
    return torch.zeros_like(inside).scatter(-1, order, inside)


def fit_gates(
    module: Any,
    inputs: NDArray[np.float32],
    *,
    seconds: float,
    seed: int = 0,
    tick: Callable[[float], None] = lambda share: None,
) -> tuple[dict[str, NDArray[np.float32]], float]:
    """Arrays of the gates, and their last loss in nats a neuron, the mean of all layers.

    `inputs`: (layers, tokens, width). A layer ends after `STEPS` steps or its part of `seconds`.
    """
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    from adec.engines.torch.layers.gathered_neurons import heats

    rng = torch.Generator().manual_seed(seed)
    layers, tokens, width = inputs.shape
    made: dict[str, list[NDArray[np.float32]]] = {"inner": [], "outer": [], "bias": []}
    lost = 0.0
    for layer, block in enumerate(module.base_model.layers):
        began = monotonic()
        x = torch.from_numpy(inputs[layer])
        with torch.no_grad():
            _, heat = heats(block.mlp, x[:BATCH].to(module.device, module.dtype))
            usual = needed(heat.float(), MASS).float().mean(0).clamp(0.01, 0.99).cpu()
        inner = torch.randn(RANK, width, generator=rng).mul(width**-0.5).requires_grad_()
        outer = torch.zeros(len(usual), RANK, requires_grad=True)
        bias = usual.logit().requires_grad_()
        optimizer = torch.optim.Adam((inner, outer, bias), lr=RATE)
        with torch.enable_grad():
            for step in range(STEPS):
                at = torch.randint(tokens, (min(BATCH, tokens),), generator=rng)
                with torch.no_grad():
                    _, heat = heats(block.mlp, x[at].to(module.device, module.dtype))
                    target = needed(heat.float(), MASS).float().cpu()
                logits = x[at] @ inner.T @ outer.T + bias
                loss = binary_cross_entropy_with_logits(logits, target)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                spent = max((step + 1) / STEPS, (monotonic() - began) * layers / seconds)
                tick((layer + min(1.0, spent)) / layers)
                if spent >= 1:
                    break
        lost += float(loss.detach()) / layers
        for name, array in (("inner", inner), ("outer", outer), ("bias", bias)):
            made[name].append(array.detach().numpy())
    return {name: np.stack(arrays) for name, arrays in made.items()}, lost


def masked(
    module: Any, answer: Gated, arrays: dict[str, NDArray[np.float32]], threshold: float
) -> tuple[int, int, float]:
    """How many tokens after gated ones stay the likeliest, of how many, and the share of neurons.

    The whole feed-forward layers are computed and masked: what gathered rows give.
    """
    import torch

    from adec.engines.torch.layers.gathered_neurons import heats

    ids, first = answer
    gates = {name: torch.from_numpy(array).to(module.device) for name, array in arrays.items()}
    shares: list[float] = []

    def look(layer: int, states: Tensor) -> Tensor:
        x = states[0].float()
        logits = x @ gates["inner"][layer].T @ gates["outer"][layer].T + gates["bias"][layer]
        kept = logits >= threshold
        shares.append(float(kept[first:].float().mean()))
        kept[:first] = True
        block = module.base_model.layers[layer].mlp
        active, _ = heats(block, states)
        out: Tensor = block.down_proj(active * kept.to(active.dtype))
        return out

    with torch.inference_mode(), _feed_forwards(module, look):
        given = torch.tensor([list(ids)], device=module.device)
        rows = module(input_ids=given, use_cache=False).logits[0, first:-1]
    wanted = list(ids[first + 1 :])
    stays = sum(a == b for a, b in zip(rows.argmax(-1).tolist(), wanted, strict=True))
    return stays, len(wanted), float(np.mean(shares))
