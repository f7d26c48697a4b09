"""Finds the model that a name on the command line means."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from adec import practice
from adec.errors import ModelFileError

PRACTICE = "practice:"
"""Prefix of the built-in models: practice:small and practice:large, with -torch for the folders."""


def locate(name: str) -> Path:
    """The path that `name` means. Raises ModelFileError when nothing is there."""
    if name.startswith(PRACTICE):
        shipped: Mapping[str, Path] = {
            "small": practice.small_gguf(),
            "large": practice.large_gguf(),
            "small-torch": practice.small_folder(),
            "large-torch": practice.large_folder(),
        }
        path = shipped.get(name.removeprefix(PRACTICE))
        if path is None:
            raise ModelFileError(
                f"{name} is no built-in model",
                hint=f"there are {', '.join(PRACTICE + key for key in shipped)}",
            )
    else:
        path = Path(name).expanduser()
    if not path.exists():
        raise ModelFileError(
            f"{path} does not exist",
            hint="give a GGUF file or a Hugging Face folder that lies on this machine",
        )
    return path
