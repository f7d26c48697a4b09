"""A large model behind an HTTP server that speaks OpenAI's completions, or llama.cpp's own."""

from __future__ import annotations

from pathlib import Path

from adec.engines.base import Engine, Format, ModelHeader, OpenOptions
from adec.errors import ModelFileError

REMOTE_NAME = "remote"
"""`ModelInfo.format` of a model behind an address."""


def is_remote(name: str) -> bool:
    """Whether a model's name is an address."""
    return name.lower().startswith(("http://", "https://"))


def _no_path(path: Path) -> bool:
    return False


def _read_header(path: Path) -> ModelHeader:
    raise ModelFileError(f"{path} is no address", hint="for example: http://127.0.0.1:8080/v1")


def _open(header: ModelHeader, options: OpenOptions) -> Engine:
    from adec.engines.remote.server_engine import ServerEngine

    return ServerEngine.open(header, options)


def _devices() -> list[str]:
    return []


REMOTE = Format(REMOTE_NAME, _no_path, _read_header, _open, _devices)
