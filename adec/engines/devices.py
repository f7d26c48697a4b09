"""The devices that the backends could use, by their own word."""

from __future__ import annotations

from adec.errors import EngineError


def devices() -> list[str]:
    """A line for each device of each backend that loads; a backend that does not load says why. Imports them all."""
    return [*_llama(), *_torch()]


def _llama() -> list[str]:
    from adec.engines.llama.library import library

    try:
        module = library()
    except EngineError as error:
        return [f"llama.cpp: {error}"]
    able = bool(module.llama_supports_gpu_offload())
    return [f"llama.cpp: {'can' if able else 'cannot'} move layers to a GPU (this build)"]


def _torch() -> list[str]:
    try:
        import torch
    except (ImportError, OSError) as error:
        return [f"torch: does not load: {error}"]
    found = [f"torch: cpu, {torch.get_num_threads()} threads"]
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            gib = properties.total_memory / 2**30
            found.append(f"torch: cuda:{index}, {properties.name}, {gib:.0f} GiB")
    if torch.backends.mps.is_available():
        found.append("torch: mps")
    return found
