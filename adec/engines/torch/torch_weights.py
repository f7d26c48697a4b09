"""The weights of a model folder as a transformers module, shared by all engines on it."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

import torch

from adec.engines.torch.folder_files import find_shards
from adec.errors import EngineError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_Key = tuple[Any, ...]
Loader = Callable[[Path, torch.device, torch.dtype | None], Any]
"""From a folder, a device and a type to a module with its weights."""


@dataclass(slots=True)
class _Loaded:
    module: Any
    users: int


_loaded: dict[_Key, _Loaded] = {}
_lock = Lock()


def quiet_transformers() -> Any:
    """The transformers package, set to be offline and silent before its first import."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    transformers: Any = importlib.import_module("transformers")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


class Weights:
    """A share of a loaded module; releasing the last one frees the memory."""

    def __init__(self, key: _Key, module: Any) -> None:
        self._key: _Key | None = key
        self.module = module

    @classmethod
    def load(
        cls,
        folder: Path,
        device: torch.device,
        dtype: torch.dtype | None,
        loader: Loader | None = None,
    ) -> Weights:
        """Load `folder`, or share the loaded module. `dtype` None is the checkpoint's own.

        `loader` builds the module; None: transformers does. With one, `folder` may be a file.

        Raises EngineError when transformers refuses, memory runs out or weights are missing.
        """
        # size and time are in the key, since training rewrites a folder under the same name
        files = tuple(
            (path.name, stat.st_size, stat.st_mtime_ns)
            for path in (
                (folder / "config.json", *find_shards(folder)) if folder.is_dir() else [folder]
            )
            for stat in (path.stat(),)
        )
        key = (folder.resolve(), files, device, dtype)
        with _lock:
            found = _loaded.get(key)
            if found is None:
                found = _loaded[key] = _Loaded((loader or _load)(folder, device, dtype), 0)
            found.users += 1
            return cls(key, found.module)

    def release(self) -> None:
        """Return the share. Calling it twice is harmless."""
        with _lock:
            if self._key is None:
                return
            found = _loaded[self._key]
            found.users -= 1
            if found.users == 0:
                del _loaded[self._key]
            self._key = None


def _load(folder: Path, device: torch.device, dtype: torch.dtype | None) -> PreTrainedModel:
    transformers = quiet_transformers()
    try:
        config = transformers.AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        model, report = _with_attention(
            config,
            partial(
                transformers.AutoModelForCausalLM.from_pretrained,
                folder,
                config=config,
                dtype=dtype or "auto",
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
            ),
        )
        wrong = sorted(report.get("missing_keys") or ())
        if wrong:
            raise EngineError(
                f"{folder} lacks weights of its model: {wrong[0]}"
                + (f" and {len(wrong) - 1} more" if len(wrong) > 1 else "")
            )
        model.to(device).eval().requires_grad_(False)
        return cast("PreTrainedModel", model)
    except EngineError:
        raise
    except Exception as error:
        raise engine_error(f"cannot load {folder}", error) from error


def _with_attention(config: Any, load: Callable[..., Any]) -> Any:
    """Load with sdpa, or with eager attention where the model does not support sdpa."""
    # sdpa cannot soft-cap scores, and would raise at the first forward only
    if not getattr(config, "attn_logit_softcapping", None):
        try:
            return load(attn_implementation="sdpa")
        except ValueError as error:
            if "does not support an attention implementation" not in str(error):
                raise
    return load(attn_implementation="eager")


def engine_error(what: str, error: BaseException) -> EngineError:
    """An EngineError of one line for whatever torch or transformers raised."""
    lines = str(error).strip().splitlines()
    first = (lines[0] if lines else "")[:200].rstrip(". ")
    first = "".join(char if char.isprintable() else "?" for char in first)
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "allocate memory" in first:
        return EngineError(
            f"{what}: out of memory", hint="give a smaller --ctx, a smaller model or another device"
        )
    return EngineError(f"{what}: {first or type(error).__name__}")
