"""The built-in practice models. The recipe that made them is `tools/train`."""

from __future__ import annotations

from pathlib import Path

__all__ = [
    "MODELS",
    "canvas_folder",
    "canvas_gguf",
    "depth_folder",
    "depth_gguf",
    "large_folder",
    "large_gguf",
    "mamba_folder",
    "mamba_gguf",
    "small_folder",
    "small_gguf",
]

MODELS = Path(__file__).parent / "models"


def small_gguf() -> Path:
    """The small model for llama.cpp."""
    return MODELS / "practice-small.gguf"


def large_gguf() -> Path:
    """The large model for llama.cpp."""
    return MODELS / "practice-large.gguf"


def canvas_gguf() -> Path:
    """The canvas model for llama.cpp."""
    return MODELS / "practice-canvas.gguf"


def canvas_folder() -> Path:
    """The canvas model for torch."""
    return MODELS / "canvas"


def depth_gguf() -> Path:
    """The model with early exits for llama.cpp."""
    return MODELS / "practice-depth.gguf"


def depth_folder() -> Path:
    """The model with early exits for torch."""
    return MODELS / "depth"


def mamba_gguf() -> Path:
    """The recurrent model, a Mamba 2, for llama.cpp."""
    return MODELS / "practice-mamba.gguf"


def mamba_folder() -> Path:
    """The recurrent model, a Mamba 2, for torch."""
    return MODELS / "mamba"


def small_folder() -> Path:
    """The small model for transformers."""
    return MODELS / "small"


def large_folder() -> Path:
    """The large model for transformers."""
    return MODELS / "large"
