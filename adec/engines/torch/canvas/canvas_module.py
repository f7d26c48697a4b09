"""Masked diffusion models on transformers' blocks: Llama's or Qwen2's, without the causal mask.

Only the blocks, the norm and the rotary embedding are transformers'. Weights come from safetensors
files, whose headers were checked before.
"""

from __future__ import annotations

import importlib
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from adec.engines.torch.canvas.canvas_folder import CanvasShape, canvas_shape
from adec.engines.torch.folder_files import find_shards, read_json
from adec.engines.torch.folder_vocabulary import CONFIG_LIMIT
from adec.errors import EngineError


class KeptStates:
    """Keys and values of one canvas, layer by layer, in the place of transformers' cache.

    Both have shape (1, heads, positions, head size). `places` says which positions the forward
    under way computes; those of them at `stored` are written.
    """

    def __init__(self) -> None:
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}
        self.size = 0
        self.places: Tensor | None = None  # None: all of them
        self.stored: Tensor | None = None  # indices into `places`; None: all of them

    def clear(self) -> None:
        """Drop everything."""
        self._layers.clear()

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any) -> tuple[Tensor, Tensor]:
        """Write what was computed; keys and values of every position."""
        if self.places is None:
            self._layers[layer] = keys, values
            return keys, values
        held = self._layers.get(layer)
        both: list[Tensor] = []
        for index, new in enumerate((keys, values)):
            old = None if held is None else held[index]
            if old is None or old.shape[2] != self.size:
                grown = new.new_zeros((*new.shape[:2], self.size, new.shape[3]))
                if old is not None:
                    common = min(self.size, old.shape[2])
                    grown[:, :, :common] = old[:, :, :common]
                old = grown
            if self.stored is None:
                old.index_copy_(2, self.places, new)
            elif len(self.stored):
                old.index_copy_(2, self.places[self.stored], new.index_select(2, self.stored))
            both.append(old)
        self._layers[layer] = both[0], both[1]
        return both[0], both[1]


class CanvasModule(nn.Module):
    """Embedding, blocks, norm and head of a canvas model."""

    def __init__(self, shape: CanvasShape) -> None:
        super().__init__()
        kind = "llama" if shape.kind == "llada" else "qwen2"
        title = kind.capitalize()
        blocks = importlib.import_module(f"transformers.models.{kind}.modeling_{kind}")
        config = getattr(importlib.import_module("transformers"), f"{title}Config")(
            vocab_size=shape.vocabulary,
            hidden_size=shape.width,
            intermediate_size=shape.feed_forward,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads,
            max_position_embeddings=shape.context,
            rms_norm_eps=shape.eps,
            rope_parameters={"rope_type": "default", "rope_theta": shape.theta},
        )
        config._attn_implementation = "sdpa"
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocabulary, shape.width)
        self.layers = nn.ModuleList(
            getattr(blocks, f"{title}DecoderLayer")(config, layer) for layer in range(shape.layers)
        )
        for layer in self.layers:
            cast(Any, layer).self_attn.is_causal = False
        self.norm = getattr(blocks, f"{title}RMSNorm")(shape.width, eps=shape.eps)
        self.head = nn.Linear(shape.width, shape.vocabulary, bias=False)
        self._rotary = partial(getattr(blocks, f"{title}RotaryEmbedding"), config)
        self.fill_tables()
        if shape.tied:
            self.head.weight = self.embed_tokens.weight

    def fill_tables(self) -> None:
        """Compute the tables of RoPE anew, on the device that is the default now."""
        self.rotary = self._rotary()

    def forward(self, ids: Tensor, places: Tensor, rows: Tensor, kept: KeptStates) -> Tensor:
        """Logits of the computed positions at `rows`, shape (rows, vocabulary), in float32.

        `ids` have shape (canvases, computed), `places` (their positions) shape (computed,); `rows`
        are indices into all of `ids`, one canvas after the other.
        """
        x = self.embed_tokens(ids)
        turned = self.rotary(x, places[None])
        for layer in self.layers:
            x = layer(
                x,
                attention_mask=None,
                position_ids=places[None],
                past_key_values=kept,
                position_embeddings=turned,
            )
        return cast(Tensor, self.head(self.norm(x.flatten(0, 1)[rows])).float())


def load_canvas(folder: Path, device: torch.device, dtype: torch.dtype | None) -> CanvasModule:
    """The module with its weights. Raises EngineError when some are missing or of other shapes."""
    from safetensors.torch import load_file

    shape = canvas_shape(folder, read_json(folder / "config.json", CONFIG_LIMIT))
    stored: dict[str, Tensor] = {}
    for shard in find_shards(folder):
        stored.update(load_file(shard, device="cpu"))
    # parameters take no memory until weights are assigned
    with torch.device("meta"):
        module = CanvasModule(shape)
    with device:
        module.fill_tables()
    wanted = dict(module.named_parameters())
    state: dict[str, Tensor] = {}
    for name, weight in wanted.items():
        found = stored.pop(shape.stored_name(name), None)
        if found is None or found.shape != weight.shape:
            what = "lacks" if found is None else "has another shape for"
            raise EngineError(f"{folder} {what} a weight of its model: {shape.stored_name(name)}")
        state[name] = found.to(device=device, dtype=dtype or found.dtype)
    if shape.tied:
        state["head.weight"] = state["embed_tokens.weight"]
        stored.pop(shape.stored_name("head.weight"), None)
    spare = [name for name in stored if not name.endswith(("rotary_emb.inv_freq", ".alibi"))]
    if spare:
        raise EngineError(f"{folder} has a weight that adec would not use: {min(spare)[:80]}")
    module.load_state_dict(state, assign=True)
    module.to(device).eval().requires_grad_(False)
    return module
