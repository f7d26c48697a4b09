"""The Llama architecture in plain torch, with fused projections for training on a CPU.

`transformers` and llama.cpp run the same weights after `export`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tools.train.tokenizer import VOCABULARY

CONTEXT = 1024
ROPE_THETA = 10_000.0
NORM_EPS = 1e-5


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a Llama model."""

    width: int
    layers: int
    feed_forward: int
    head: int = 32
    vocabulary: int = VOCABULARY
    causal: bool = True  # else every position sees all of them

    @property
    def heads(self) -> int:
        """Attention heads; there are as many for keys and values."""
        return self.width // self.head


SHAPES = {
    "large": Shape(256, 6, 512),
    "small": Shape(96, 3, 192),
    "canvas": Shape(256, 6, 512, vocabulary=VOCABULARY + 1, causal=False),
    "depth": Shape(256, 12, 256),
}


class Block(nn.Module):
    """Attention and a gated feed-forward layer, each behind an RMS norm."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.attention_norm = nn.Parameter(torch.ones(shape.width))
        self.qkv = nn.Linear(shape.width, 3 * shape.width, bias=False)
        self.out = nn.Linear(shape.width, shape.width, bias=False)
        self.hidden_norm = nn.Parameter(torch.ones(shape.width))
        self.gate_up = nn.Linear(shape.width, 2 * shape.feed_forward, bias=False)
        self.down = nn.Linear(shape.feed_forward, shape.width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """The next hidden states of a batch of whole sequences."""
        rows, length, width = x.shape
        qkv = self.qkv(_norm(x, self.attention_norm))
        q, k, v = qkv.view(rows, length, 3, self.shape.heads, self.shape.head).unbind(2)
        q = _rotate(q, cos, sin).transpose(1, 2)
        k = _rotate(k, cos, sin).transpose(1, 2)
        mixed = _attend(q, k, v.transpose(1, 2), self.shape.causal)
        x = x + self.out(mixed.transpose(1, 2).reshape(rows, length, width))
        gate, up = self.gate_up(_norm(x, self.hidden_norm)).chunk(2, dim=-1)
        return cast(Tensor, x + self.down(F.silu(gate) * up))


class Llama(nn.Module):
    """A language model whose output head is its embedding."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.Parameter(torch.ones(shape.width))
        frequency = ROPE_THETA ** (-torch.arange(0, shape.head, 2).float() / shape.head)
        angle = torch.outer(torch.arange(CONTEXT).float(), frequency)[:, None, :]
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                scale = 1.0 if name.startswith("embedding") else weight.shape[1] ** -0.5
                if name.endswith(("out.weight", "down.weight")):
                    scale *= (2 * shape.layers) ** -0.5
                nn.init.normal_(weight, std=0.02 if name.startswith("embedding") else scale)

    def begin(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The states below the first layer, and the cosines and sines of their positions."""
        length = tokens.shape[1]
        cos, sin = cast(Tensor, self.cos)[:length], cast(Tensor, self.sin)[:length]
        x = self.embedding(tokens)
        if torch.is_autocast_enabled(tokens.device.type):
            x = x.to(torch.bfloat16)
            cos, sin = cos.to(x.dtype), sin.to(x.dtype)
        return x, cos, sin

    def hidden(self, tokens: Tensor) -> Tensor:
        """The normed states of the last layer."""
        x, cos, sin = self.begin(tokens)
        for block in self.blocks:
            x = block(x, cos, sin)
        return _norm(x, self.norm)

    def scores(self, x: Tensor) -> Tensor:
        """Logits of the states of any layer, through the norm and the head that all share."""
        return F.linear(_norm(x, self.norm), self.embedding.weight)

    def forward(self, tokens: Tensor, rows: Tensor | None = None) -> Tensor:
        """Logits of every position, or of the flat positions `rows`."""
        x = self.hidden(tokens)
        if rows is not None:
            x = x.flatten(0, 1)[rows]
        return F.linear(x, self.embedding.weight)


def parameters_of(model: nn.Module) -> int:
    """The number of weights; the head is the embedding, so it counts once."""
    return sum(weight.numel() for weight in model.parameters())


def _norm(x: Tensor, weight: Tensor) -> Tensor:
    return F.rms_norm(x, (x.shape[-1],), weight.to(x.dtype), NORM_EPS)


def _attend(q: Tensor, k: Tensor, v: Tensor, causal: bool = True) -> Tensor:
    """Attention to what came before, or to all positions.

    On a CPU, plain products are several times faster in the backward pass than the fused kernel, at
    the lengths trained here.
    """
    if q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    scores = (q @ k.transpose(-2, -1)) * q.shape[-1] ** -0.5
    if causal:
        length = q.shape[-2]
        future = torch.ones(length, length, dtype=torch.bool).triu(1)
        scores = scores.masked_fill(future, float("-inf"))
    weights: Tensor = scores.softmax(-1).to(v.dtype)
    return weights.matmul(v)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
