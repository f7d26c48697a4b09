"""The model that is inflated, and what keeps added tokens from winning."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open

from tools.inflate.inflated_tensors import RESERVED, Axis, Floats
from tools.llama_gguf import interleave


class Source:
    """A folder built like the practice models: Llama, or Dream without biases; tied embedding, as
    many key as query heads.

    Raises ValueError for any other.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            config: dict[str, Any] = json.loads((folder / "config.json").read_text("utf-8"))
            self.width, self.layers = int(config["hidden_size"]), int(config["num_hidden_layers"])
            self.feed_forward = int(config["intermediate_size"])
            self.heads = int(config["num_attention_heads"])
            self.vocabulary = int(config["vocab_size"])
        except (OSError, KeyError, ValueError) as error:
            raise ValueError(f"{folder} is no folder of a Llama model: {error!r}") from error
        self._config = config
        self.head = int(config.get("head_dim") or self.width // self.heads)
        self.eps = float(config["rms_norm_eps"])
        rope = config.get("rope_parameters") or {}
        self.theta = float(rope.get("rope_theta") or config.get("rope_theta") or 10_000.0)
        self.context = int(config["max_position_embeddings"])
        if (
            config.get("model_type") not in ("llama", "Dream")
            or not config.get("tie_word_embeddings")
            or config.get("num_key_value_heads") != self.heads
            or self.heads * self.head != self.width
            or config.get("attention_bias")
            or config.get("mlp_bias")
            or rope.get("rope_type", "default") != "default"
        ):
            raise ValueError(f"{folder} is not built like the practice models")
        self.mask = self.token("mask_token_id") if config["model_type"] == "Dream" else None
        if self.mask is not None and any(np.abs(bias).max() > 0 for bias in self._biases()):
            raise ValueError(f"{folder} has biases, which an inflated model would lose")

    @property
    def config(self) -> dict[str, Any]:
        """A copy of config.json."""
        return dict(self._config)

    def _biases(self) -> Iterator[Floats]:
        with safe_open(self.folder / "model.safetensors", framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  (it is no mapping)
                if name.endswith(".bias"):
                    yield file.get_tensor(name).float().numpy()

    def token(self, name: str) -> int | None:
        """A token id of the config."""
        value = self._config.get(name)
        return value if isinstance(value, int) else None

    def tensor(self, name: str) -> Floats:
        """One tensor as float32."""
        with safe_open(self.folder / "model.safetensors", framework="pt") as file:
            values: Floats = file.get_tensor(f"model.{name}.weight").float().numpy()
        return values

    def rotated(self, name: str) -> Floats:
        """A query or key projection with its rows in llama.cpp's order."""
        values: Floats = interleave(torch.from_numpy(self.tensor(name)), self.heads).numpy()
        return values

    def largest_state(self) -> float:
        """An upper bound of the root mean square of a final hidden state, for any text.

        The norm of a sum is at most the sum of norms. A normed state has at most the length
        sqrt(width); attention averages, so its output is at most as long as its longest value; and
        |silu(x)| <= |x|.
        """
        root = math.sqrt(self.width)
        length = float(np.linalg.norm(self.tensor("embed_tokens"), axis=1).max())
        for layer in range(self.layers):
            at = f"layers.{layer}."
            norm = self.tensor(at + "input_layernorm")
            values = self.tensor(at + "self_attn.v_proj") * norm
            by_head = values.reshape(self.heads, self.head, self.width)
            mixed = np.linalg.norm(np.linalg.norm(by_head, 2, axis=(1, 2))) * root
            length += float(np.linalg.norm(self.tensor(at + "self_attn.o_proj"), 2) * mixed)
            norm = self.tensor(at + "post_attention_layernorm")
            gate = np.linalg.norm(self.tensor(at + "mlp.gate_proj") * norm, axis=1)
            up = np.linalg.norm(self.tensor(at + "mlp.up_proj") * norm, axis=1)
            down = np.linalg.norm(self.tensor(at + "mlp.down_proj"), 2)
            length += float(down * np.linalg.norm(gate * up) * self.width)
        return length / root


@dataclass(frozen=True, slots=True)
class Guard:
    """A block of reserved dimensions that keeps added tokens from winning.

    Every embedding has the same `constant` there, and no block writes to them. All norms see them:
    their squares are subtracted from the epsilon, which becomes `eps`, so nothing else changes. The
    last norm multiplies them by `gain`, which makes them large and positive; the head of an added
    token is -`push` there and zero elsewhere. `push` follows from bounds of the source's final
    state and logits, so that such a logit is lower than any of the source's by 100 or more.
    """

    constant: float
    eps: float
    gain: float
    push: float

    @staticmethod
    def of(source: Source, residual: Axis) -> Guard:
        used = residual.filled
        constant = float(np.float16(math.sqrt(source.eps * used / (2 * RESERVED))))
        eps = (source.eps * used - RESERVED * constant**2) / residual.size
        # no state is larger than this after the norm: float16 ends at 65,504
        top = 30_000.0
        gain = top * math.sqrt(source.eps * used / residual.size) / constant
        head = source.tensor("embed_tokens") * source.tensor("norm")
        lowest = float(np.linalg.norm(head, axis=1).max()) * math.sqrt(source.width)
        least = top * math.sqrt(source.eps) / math.hypot(source.largest_state(), source.eps**0.5)
        push = 2.0 ** math.ceil(math.log2((2 * lowest + 100) / (least * RESERVED)))
        if push > 2**15:
            raise ValueError("the states of this model may grow too large for added tokens")
        return Guard(constant, eps, gain, push)
