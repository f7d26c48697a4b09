"""Hugging Face folders through torch and transformers."""

from __future__ import annotations

from pathlib import Path

from adec.engines.base import Engine, Format, ModelHeader, OpenOptions


def _read_header(path: Path) -> ModelHeader:
    from adec.engines.torch.folder_header import read_folder_header

    return read_folder_header(path)


def _open(header: ModelHeader, options: OpenOptions) -> Engine:
    if header.canvas is not None:
        from adec.engines.torch.canvas.torch_canvas import TorchCanvas

        return TorchCanvas.open(header, options)
    from adec.engines.torch.mamba_engine import MambaEngine
    from adec.engines.torch.pseudo.pseudo_engine import TorchPseudoEngine
    from adec.engines.torch.torch_engine import TorchEngine

    kind = TorchEngine
    if "layers" in header.capabilities:
        kind = TorchPseudoEngine
    elif header.info.architecture in MambaEngine.ARCHITECTURES:
        kind = MambaEngine
    return kind.open(header, options)


def _devices() -> list[str]:
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


FOLDER = Format("safetensors", Path.is_dir, _read_header, _open, _devices, engine="torch")
