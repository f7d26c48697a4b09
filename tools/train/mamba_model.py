"""The Mamba 2 architecture in plain torch, for training on whole short sequences.

T. Dao and A. Gu, "Transformers are SSMs: Generalized Models and Efficient Algorithms Through
Structured State Space Duality", 2024, https://arxiv.org/abs/2405.21060. A layer is computed in its
dual form, as attention with decay: y = (L * C B^T) (dt x), where L[i, j] is the product of the
decays after j up to i. Sequences of up to some 200 tokens are one chunk of it.

`transformers` and llama.cpp run the same weights after `export_mamba`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tools.train.llama_model import NORM_EPS
from tools.train.tokenizer import VOCABULARY

SLOWEST, FASTEST = 1e-3, 0.1
"""Time steps that the layers begin with, spread evenly on a logarithmic scale; the paper's."""


@dataclass(frozen=True, slots=True)
class MambaShape:
    """The sizes of a Mamba 2."""

    width: int = 256
    layers: int = 12
    heads: int = 8
    head: int = 64
    groups: int = 2
    """Of heads that share B and C."""
    state: int = 64
    kernel: int = 4
    vocabulary: int = VOCABULARY

    @property
    def inner(self) -> int:
        """Channels of a layer."""
        return self.heads * self.head

    @property
    def mixed(self) -> int:
        """Channels of the convolution: x, B and C."""
        return self.inner + 2 * self.groups * self.state

    @property
    def projected(self) -> tuple[int, ...]:
        """Rows of the fused input projection: gate, x, B, C, dt."""
        states = self.groups * self.state
        return self.inner, self.inner, states, states, self.heads


MAMBA = MambaShape()


class MambaBlock(nn.Module):
    """One layer, behind an RMS norm."""

    def __init__(self, shape: MambaShape) -> None:
        super().__init__()
        self.shape = shape
        self.norm = nn.Parameter(torch.ones(shape.width))
        self.in_proj = nn.Linear(shape.width, sum(shape.projected), bias=False)
        self.conv = nn.Parameter(torch.randn(shape.mixed, 1, shape.kernel) * shape.kernel**-0.5)
        self.conv_bias = nn.Parameter(torch.zeros(shape.mixed))
        steps = torch.exp(torch.linspace(math.log(SLOWEST), math.log(FASTEST), shape.heads))
        self.dt_bias = nn.Parameter(torch.log(torch.expm1(steps)))
        self.a_log = nn.Parameter(torch.log(torch.linspace(1.0, 16.0, shape.heads)))
        self.skip = nn.Parameter(torch.ones(shape.heads))
        self.gate_norm = nn.Parameter(torch.ones(shape.inner))
        self.out_proj = nn.Linear(shape.inner, shape.width, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        """The next hidden states of a batch of whole sequences, (rows, length, width)."""
        shape = self.shape
        rows, length, _ = hidden.shape
        normed = F.rms_norm(hidden, (shape.width,), self.norm.to(hidden.dtype), NORM_EPS)
        projected = self.in_proj(normed)
        gate, mixed, dt = torch.split(projected, [shape.inner, shape.mixed, shape.heads], -1)
        x, b, c = torch.split(F.silu(self._convolve(mixed)), list(shape.projected[1:4]), -1)
        x = x.view(rows, length, shape.heads, shape.head)
        b, c = (part.view(rows, length, shape.groups, -1).transpose(1, 2) for part in (b, c))
        dt = F.softplus(dt.float() + self.dt_bias)  # (rows, length, heads)
        decay = (dt * -self.a_log.exp()).cumsum(1).transpose(1, 2)  # (rows, heads, length)
        past = torch.ones(length, length, dtype=torch.bool, device=x.device).tril()
        falls = (decay[..., :, None] - decay[..., None, :]).masked_fill(~past, float("-inf")).exp()
        seen = (c @ b.mT).repeat_interleave(shape.heads // shape.groups, 1)
        weights = (seen * falls).to(x.dtype)
        fed = (x * dt[..., None].to(x.dtype)).transpose(1, 2)
        y = (weights @ fed).transpose(1, 2) + x * self.skip[:, None].to(x.dtype)
        y = y.reshape(rows, length, shape.inner) * F.silu(gate)
        grouped = y.view(rows, length, shape.groups, -1)
        y = F.rms_norm(grouped, grouped.shape[-1:], eps=NORM_EPS).view_as(y)
        return cast(Tensor, hidden + self.out_proj(y * self.gate_norm.to(y.dtype)))

    def _convolve(self, mixed: Tensor) -> Tensor:
        """A causal convolution, each channel by itself; as a sum it is faster on a CPU."""
        length, taps = mixed.shape[1], self.conv[:, 0].to(mixed.dtype)
        padded = F.pad(mixed, (0, 0, self.shape.kernel - 1, 0))
        total = self.conv_bias.to(mixed.dtype)
        for tap in range(self.shape.kernel):
            total = total + padded[:, tap : tap + length] * taps[:, tap]
        return total


RunBlock = Callable[[MambaBlock, Tensor], Tensor]


class Mamba(nn.Module):
    """A language model whose output head is its embedding."""

    def __init__(self, shape: MambaShape = MAMBA) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary, shape.width)
        self.blocks = nn.ModuleList(MambaBlock(shape) for _ in range(shape.layers))
        self.norm = nn.Parameter(torch.ones(shape.width))
        nn.init.normal_(self.embedding.weight, std=0.02)
        for block in self.blocks:
            nn.init.normal_(cast(MambaBlock, block).in_proj.weight, std=shape.width**-0.5)
            out = cast(MambaBlock, block).out_proj.weight
            nn.init.normal_(out, std=(shape.inner * shape.layers) ** -0.5)

    def forward(
        self, tokens: Tensor, rows: Tensor | None = None, run: RunBlock = MambaBlock.forward
    ) -> Tensor:
        """Logits of every position, or of the flat positions `rows`; `run` computes a block."""
        x = self.embedding(tokens)
        if torch.is_autocast_enabled(tokens.device.type):
            x = x.to(torch.bfloat16)
        for block in self.blocks:
            x = run(cast(MambaBlock, block), x)
        x = F.rms_norm(x, (self.shape.width,), self.norm.to(x.dtype), NORM_EPS)
        if rows is not None:
            x = x.flatten(0, 1)[rows]
        return F.linear(x, self.embedding.weight)
