"""GGUF models through torch: the same files as llama.cpp's, for methods that run single layers."""

from __future__ import annotations

from pathlib import Path

from adec.engines.base import Engine, Format, ModelHeader, OpenOptions

NAME = "gguf-torch"
"""`ModelInfo.format` of a GGUF model that torch runs."""


def _read_header(path: Path) -> ModelHeader:
    from adec.engines.torch.from_gguf.torch_layout import read_layout

    return read_layout(path)[0]


def _open(header: ModelHeader, options: OpenOptions) -> Engine:
    from adec.engines.torch.from_gguf.gguf_torch_engine import GgufTorchEngine

    return GgufTorchEngine.open(header, options)


# the folder's entry names torch's devices
GGUF_ON_TORCH = Format(NAME, Path.is_file, _read_header, _open, lambda: [], engine="torch")
