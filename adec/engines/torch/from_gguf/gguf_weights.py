"""The weights of a GGUF file as a transformers module.

transformers reads some GGUF files by itself, but wants another package for it. Here the module is
made without memory, and each weight is filled in from its tensor, some rows at a time: beyond the
weights themselves no more than `AT_ONCE` numbers are held.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adec.engines.llama.gguf.gguf_values import Tensor as Described
from adec.engines.torch.from_gguf.torch_layout import Source, TorchLayout, read_layout
from adec.engines.torch.torch_weights import engine_error, quiet_transformers
from adec.errors import EngineError
from adec.machine import memory

AT_ONCE = 1 << 24
"""Numbers that are turned into floats at once."""


def load_gguf(path: Path, device: torch.device, dtype: torch.dtype | None) -> Any:
    """The module on a device. `dtype` None: bfloat16, which is finer than what most files hold.

    Raises EngineError when memory does not suffice or transformers refuses, ModelFileError when the
    file changed into one that torch cannot run.
    """
    _, layout = read_layout(path)
    dtype = dtype or torch.bfloat16
    if device.type == "cpu":
        check_memory(path, layout, dtype)
    transformers = quiet_transformers()
    try:
        config = transformers.AutoConfig.for_model(layout.model_type, **layout.config)
        with torch.device("meta"):
            module = transformers.AutoModelForCausalLM.from_config(
                config, dtype=dtype, attn_implementation="sdpa"
            )
        # what is computed and not stored has no memory yet either
        rotary = type(module.model.rotary_emb)(config=config).to(device)
        if layout.frequencies is not None:
            divisors = torch.from_numpy(next(numbers_of(layout.frequencies)))
            rotary.inv_freq = rotary.inv_freq / divisors.reshape(-1).to(device)
        module.model.rotary_emb = rotary
        state = {name: _weight(source, device, dtype) for name, source in layout.sources.items()}
        if layout.config["tie_word_embeddings"]:
            state["lm_head.weight"] = state["model.embed_tokens.weight"]
        module.load_state_dict(state, assign=True)
        module.tie_weights()
        return module.eval().requires_grad_(False)
    except EngineError:
        raise
    except Exception as error:
        raise engine_error(f"cannot load {path}", error) from error


def check_memory(path: Path, layout: TorchLayout, dtype: torch.dtype) -> None:
    """Raise EngineError where the weights as `dtype` need more memory than is free."""
    numbers = sum(source.tensor.elements for source in layout.sources.values())
    needed = numbers * dtype.itemsize + 8 * AT_ONCE
    _, free = memory()
    if free is not None and needed > free:
        raise EngineError(
            f"{path} needs {needed / 2**30:.1f} GiB on torch as"
            f" {str(dtype).removeprefix('torch.')}, and {free / 2**30:.1f} GiB are free",
            hint="--dtype bfloat16 takes half of float32; llama.cpp runs it as it is stored",
        )


def numbers_of(tensor: Described) -> Iterator[np.ndarray]:
    """The numbers of a tensor as float32, some rows at a time, each of its fastest dimension."""
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize

    columns = tensor.shape[0]
    rows = tensor.elements // columns
    kind = GGMLQuantizationType[tensor.type]
    width = tensor.bytes // rows
    step = max(1, AT_ONCE // columns)
    data = np.memmap(tensor.path, np.uint8, "r", offset=tensor.start, shape=(rows, width))
    for first in range(0, rows, step):
        # a copy, since torch wants what it can write to
        part = np.array(data[first : first + step])
        # the package takes floats as floats
        if tensor.type in ("F32", "F16"):
            part = part.view(np.float32 if tensor.type == "F32" else np.float16)
        with np.errstate(all="ignore"):
            yield dequantize(part, kind).astype(np.float32, copy=False)


def _weight(source: Source, device: torch.device, dtype: torch.dtype) -> Tensor:
    tensor = source.tensor
    weight = torch.empty(tensor.shape[::-1], dtype=dtype)
    flat, at = weight.view(-1), 0
    for part in numbers_of(tensor):
        flat[at : at + part.size] = torch.from_numpy(part.reshape(-1))
        at += part.size
    if source.heads:
        weight = halved(weight, source.heads)
    return weight.to(device)


def halved(weight: Tensor, heads: int) -> Tensor:
    """Rows of a query or key projection in transformers' order.

    Its RoPE turns the two halves of a head, where llama.cpp's turns neighbours.
    """
    rest = weight.shape[1:]
    pairs = weight.reshape(heads, -1, 2, *rest)
    return pairs.swapaxes(1, 2).reshape(weight.shape).contiguous()
