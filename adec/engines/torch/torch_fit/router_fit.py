"""Learns the routers of FiRST: gates on a frozen model's layers, with a gradient.

A layer's output in an answer is h + g (layer(h) - h). The gate g is 0 or 1 in the forward, and has
the gradient of the router's probability p in the backward (straight-through). Logistic noise on the
logits tries layers out; it falls to nothing while the time passes. Loss: cross-entropy of the
model's own tokens, 0.01 for each layer's p (paper), and a little for the routers' weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

STEPS = 400
BATCH = 8
RATE = 0.05
PENALTY = 0.01
DECAY = 1e-3
FIRST_BIAS = 2.0
"""Logit of every router at first: layers run."""

Gated = tuple[Sequence[int], int]
"""Tokens of a prompt and its answer, and the first position that the gates hold for."""


def fit_routers(
    module: Any,
    inputs: NDArray[np.float32],
    answers: Sequence[Gated],
    *,
    seconds: float,
    seed: int = 0,
    tick: Callable[[float], None] = lambda share: None,
) -> tuple[dict[str, NDArray[np.float32]], float]:
    """Arrays of the routers, and their last loss in nats a token, without penalties.

    `module`: transformers' own, whose weights stay as they are. `inputs`: what the routers see,
    (answers, layers, width). Ends after `STEPS` steps or `seconds`.
    """
    import torch

    began = monotonic()
    rng = torch.Generator().manual_seed(seed)
    x = torch.from_numpy(inputs)
    weight = torch.zeros(x.shape[1:], requires_grad=True)
    bias = torch.full(x.shape[1:2], FIRST_BIAS, requires_grad=True)
    optimizer = torch.optim.Adam((weight, bias), lr=RATE)
    lost, spent = 0.0, 0.0
    with torch.enable_grad():
        for step in range(STEPS):
            lost = 0.0
            optimizer.zero_grad()
            chosen = torch.randperm(len(answers), generator=rng)[:BATCH].tolist()
            for at in chosen:
                logits = (weight * x[at]).sum(-1) + bias
                uniform = torch.rand(logits.shape, generator=rng).clamp(1e-6, 1 - 1e-6)
                noise = max(0.0, 1 - spent) * (uniform.log() - (-uniform).log1p())
                gates = straight_through(logits, noise)
                loss = gated_loss(module, answers[at], gates)
                total = loss + PENALTY * logits.sigmoid().sum() + DECAY * weight.square().sum()
                (total / len(chosen)).backward()  # type: ignore[no-untyped-call]
                lost += float(loss.detach()) / len(chosen)
            optimizer.step()
            spent = max((step + 1) / STEPS, (monotonic() - began) / seconds)
            tick(min(1.0, spent))
            if spent >= 1:
                break
    return {"weight": weight.detach().numpy(), "bias": bias.detach().numpy()}, lost


def straight_through(logits: Tensor, noise: Tensor) -> Tensor:
    """0 or 1 by the sign of the noisy logits, with the gradient of their sigmoid."""
    soft = logits.sigmoid()
    hard: Tensor = (logits + noise > 0).float() + soft - soft.detach()
    return hard


def gated_loss(module: Any, answer: Gated, gates: Tensor) -> Tensor:
    """Cross-entropy in nats of the tokens that follow gated ones."""
    import torch
    from torch.nn.functional import cross_entropy

    ids, first = answer
    rows = gated_rows(module, answer, gates)[:-1]
    wanted = torch.tensor(list(ids[first + 1 :]), device=rows.device)
    return cross_entropy(rows.float(), wanted)


def agreement(module: Any, answer: Gated, kept: Sequence[bool]) -> tuple[int, int]:
    """How many tokens after gated ones stay the likeliest with these layers alone, of how many."""
    import torch

    ids, first = answer
    with torch.inference_mode():
        rows = gated_rows(module, answer, torch.tensor(kept, dtype=torch.float32))[:-1]
        likeliest = rows.argmax(-1).tolist()
    wanted = list(ids[first + 1 :])
    return sum(a == b for a, b in zip(likeliest, wanted, strict=True)), len(wanted)


def gated_rows(module: Any, answer: Gated, gates: Tensor) -> Tensor:
    """Logits after each token from the first gated one on, (tokens, vocabulary).

    `gates`: a factor for each layer's own work; tokens before are worked on in full.
    """
    import torch

    ids, first = answer
    base = module.base_model
    states = base.embed_tokens(torch.tensor([list(ids)], device=module.device))
    count = states.shape[1]
    positions = torch.arange(count, device=module.device)[None]
    turns = base.rotary_emb(states, position_ids=positions)
    mask = causal_mask(module, count)
    gated = (positions >= first)[..., None]
    gates = gates.to(states.device, states.dtype)
    for layer, gate in zip(base.layers, gates, strict=True):
        out = layer(
            states, attention_mask=mask, position_ids=positions, position_embeddings=turns,
            past_key_values=None, use_cache=False,
        )  # fmt: skip
        # a factor of one keeps what the layer says, to the bit
        states = torch.where(gated, states + gate * (out - states), out)
    rows: Tensor = module.get_output_embeddings()(base.norm(states[0, first:]))
    return rows


def causal_mask(module: Any, count: int) -> Tensor:
    """(1, 1, tokens, tokens), in the form that the model's attention takes."""
    import torch

    seen = torch.ones((count, count), dtype=torch.bool, device=module.device).tril()[None, None]
    if module.config._attn_implementation == "sdpa":
        return seen
    dtype = module.dtype
    # eager attention adds its mask to the scores
    return torch.zeros_like(seen, dtype=dtype).masked_fill_(~seen, torch.finfo(dtype).min)
