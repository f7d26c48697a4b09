"""Muon for the matrices, AdamW for the rest.

Muon: K. Jordan and others, "Muon: an optimizer for hidden layers in neural networks", 2024,
https://kellerjordan.github.io/posts/muon/. Different here: fused projections are split into their
matrices, and matrices of the same size are orthogonalised in one batch, divided among the processes
of a team.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tools.train.team import Team

MUON_RATE = 0.02
ADAM_RATE = 0.004
DECAY = 0.05
MOMENTUM = 0.95
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5


def orthogonalise(batch: Tensor, kind: torch.dtype = torch.bfloat16) -> Tensor:
    """The nearest matrices with singular values around one, by Newton-Schulz iterations."""
    a, b, c = _COEFFICIENTS
    x = batch.to(kind)
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    result: Tensor = x.to(batch.dtype)
    return result


class Optimizer:
    """Both optimizers behind one step."""

    def __init__(
        self,
        model: nn.Module,
        team: Team | None = None,
        *,
        parts: Callable[[str, Tensor], tuple[Tensor, ...]] | None = None,
        kind: torch.dtype = torch.bfloat16,
    ) -> None:
        """`parts` splits a fused projection, by its name, into its matrices.

        `kind`: in which Muon multiplies; without the instructions bfloat16 is slow.
        """
        self.kind = kind
        self.team = team or Team()
        self._parts = parts or _parts
        named = dict(model.named_parameters())
        self.matrices = {
            name: weight
            for name, weight in named.items()
            if weight.ndim == 2 and not name.startswith("embedding")
        }
        self.momenta = {name: torch.zeros_like(weight) for name, weight in self.matrices.items()}
        others = [weight for name, weight in named.items() if name not in self.matrices]
        self.adam = torch.optim.AdamW(others, lr=ADAM_RATE, betas=(0.9, 0.98), weight_decay=0.0)

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """Update the weights from the gradients and clear these.

        `factor` of the schedule scales both learning rates.
        """
        for group in self.adam.param_groups:
            group["lr"] = ADAM_RATE * factor
        self.adam.step()
        self.adam.zero_grad()
        same_size: dict[tuple[int, ...], list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for name, weight in self.matrices.items():
            if weight.grad is None:
                continue
            momentum = self.momenta[name]
            momentum.lerp_(weight.grad, 1 - MOMENTUM)
            update = weight.grad.lerp_(momentum, MOMENTUM)
            for part, change in zip(
                self._parts(name, weight), self._parts(name, update), strict=True
            ):
                wide = part.shape[0] <= part.shape[1]
                change = change if wide else change.mT
                same_size[tuple(change.shape)].append((part if wide else part.mT, change))
            weight.grad = None
        rate = MUON_RATE * factor
        stacks = [torch.stack([change for _, change in pairs]) for pairs in same_size.values()]
        for index, stack in enumerate(stacks):
            share = slice(self.team.rank, None, self.team.size)
            mine = orthogonalise(stack[share], self.kind)
            stacks[index] = torch.zeros_like(stack)
            stacks[index][share] = mine
        self.team.add(stacks)
        for pairs, changes in zip(same_size.values(), stacks, strict=True):
            for (part, _), change in zip(pairs, changes, strict=True):
                rows, columns = part.shape
                part.mul_(1 - rate * DECAY)
                part.add_(change, alpha=-rate * (columns / rows) ** 0.5)

    def state_dict(self) -> dict[str, Any]:
        """The state for a checkpoint."""
        return {"momenta": self.momenta, "adam": self.adam.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        for name, momentum in state["momenta"].items():
            self.momenta[name].copy_(momentum)
        self.adam.load_state_dict(state["adam"])


def _parts(name: str, weight: Tensor) -> tuple[Tensor, ...]:
    if name.endswith("qkv.weight"):
        return weight.chunk(3)
    return weight.chunk(2) if name.endswith("gate_up.weight") else (weight,)
