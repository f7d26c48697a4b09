"""From a path to a model: which engine reads it, its header, and the loaded engine."""

from __future__ import annotations

from pathlib import Path

from adec.engines.base import Engine, ModelHeader, OpenOptions
from adec.engines.pair import Engines
from adec.errors import ModelFileError


def read_header(path: Path) -> ModelHeader:
    """The header of a GGUF file or of a Hugging Face folder; no weights are loaded.

    Raises ModelFileError when it is neither, or is broken or hostile.
    """
    try:
        if path.is_dir():
            from adec.engines.torch.folder_header import read_folder_header

            return read_folder_header(path)
        if not path.is_file():
            raise ModelFileError(f"{path} is neither a file nor a folder")
        from adec.engines.llama.gguf_header import read_gguf_header

        return read_gguf_header(path)
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror or error}") from error


def open_engine(header: ModelHeader, options: OpenOptions) -> Engine:
    """Load the weights. Raises EngineError when the backend refuses or memory does not suffice."""
    if header.info.format == "gguf":
        from adec.engines.llama.llama_engine import LlamaEngine

        return LlamaEngine.open(header, options)
    from adec.engines.torch.torch_engine import TorchEngine

    return TorchEngine.open(header, options)


def open_engines(large: ModelHeader, small: ModelHeader | None, options: OpenOptions) -> Engines:
    """Load one model or two; when the second fails, the first is freed."""
    engine = open_engine(large, options)
    try:
        return Engines(engine, None if small is None else open_engine(small, options))
    except BaseException:
        engine.close()
        raise
