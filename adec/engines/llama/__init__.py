"""GGUF models through llama.cpp."""

from __future__ import annotations

from pathlib import Path

from adec.engines.base import Engine, Format, ModelHeader, OpenOptions
from adec.errors import EngineError


def _read_header(path: Path) -> ModelHeader:
    from adec.engines.llama.gguf.gguf_header import read_gguf_header

    return read_gguf_header(path)


def _open(header: ModelHeader, options: OpenOptions) -> Engine:
    if header.canvas is not None:
        from adec.engines.llama.llama_canvas import LlamaCanvas

        return LlamaCanvas.open(header, options)
    if options.rpc:
        from adec.engines.llama.remote_engine import RemoteEngine

        return RemoteEngine.open(header, options)
    from adec.engines.llama.embed_engine import LlamaEmbedEngine
    from adec.engines.llama.llama_engine import LlamaEngine
    from adec.engines.llama.recurrent_engine import RecurrentEngine

    kind = LlamaEngine if "tree" in header.capabilities else RecurrentEngine
    if "vectors" in header.capabilities:
        kind = LlamaEmbedEngine
    return kind.open(header, options)


def _devices() -> list[str]:
    from adec.engines.llama.llama_library import library

    try:
        module = library()
    except EngineError as error:
        return [f"llama.cpp: {error}"]
    return [
        f"llama.cpp: {'can' if able else 'cannot'} move layers to {where} (this build)"
        for able, where in (
            (module.llama_supports_gpu_offload(), "a GPU"),
            (module.llama_supports_rpc(), "RPC servers"),
        )
    ]


GGUF = Format("gguf", Path.is_file, _read_header, _open, _devices, engine="llama")
