"""The only module that imports llama-cpp-python: its C functions, its log, and shared models.

The high-level `Llama` class is not used: it has no sequences, copies logits in Python and hides
return codes. Structs of parameters change with every release, so they start from the library's
defaults and are set by name.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adec.errors import EngineError
from adec.machine import usable_cores

_ERROR, _CONTINUED = 4, 5  # ggml_log_level


class _Log:
    """The last lines that llama.cpp logged; printed too when `echo` is set."""

    def __init__(self) -> None:
        self.echo = False
        self._lines: deque[tuple[int, str]] = deque(maxlen=60)

    def write(self, level: int, text: bytes, _data: object) -> None:
        """The callback for C; it must not raise."""
        line = text.decode("utf-8", errors="replace")
        if self.echo and sys.stderr is not None:
            print(line, end="", file=sys.stderr, flush=True)
        if level == _CONTINUED and self._lines:
            level, line = self._lines[-1][0], self._lines.pop()[1] + line
        self._lines.append((level, line))

    def take_error(self) -> str | None:
        """The first error line since the last call, without its function name; clears the log."""
        errors = [line.strip() for level, line in self._lines if level == _ERROR and line.strip()]
        self._lines.clear()
        if not errors:
            return None
        # the first line names the cause, the rest only say that loading failed
        return re.sub(r"^[\w:~<>]+: ", "", errors[0])[:200]


log = _Log()
_lock = threading.RLock()
_module: Any = None
_callback: Any = None


def echo_logs(on: bool) -> None:
    """Whether llama.cpp's log goes to stderr as it is written."""
    log.echo = on


def library() -> Any:
    """The module of C functions, imported and initialised at the first call.

    Raises EngineError, with the command that installs it, when it does not load.
    """
    global _module, _callback
    with _lock:
        if _module is None:
            # otherwise a failed assertion in ggml starts a debugger on this process
            os.environ.setdefault("GGML_NO_BACKTRACE", "1")
            try:
                from llama_cpp import llama_cpp as module
            except (ImportError, OSError, RuntimeError) as error:
                raise EngineError(
                    f"GGUF models need llama-cpp-python, which does not load: {error}",
                    hint="pip install llama-cpp-python",
                ) from error
            # C holds the pointer as long as the process lives
            _callback = module.llama_log_callback(log.write)
            module.llama_log_set(_callback, ctypes.c_void_p(0))
            module.llama_backend_init()
            _module = module
        return _module


def function_returning_address(module: Any, name: str, *arguments: Any) -> Any:
    """A C function that returns a pointer, bound to return the plain address (None for NULL)."""
    address = ctypes.cast(getattr(module, name), ctypes.c_void_p).value or 0
    return ctypes.CFUNCTYPE(ctypes.c_void_p, *arguments)(address)


def ggml_function(name: str, result: Any, *arguments: Any) -> Any:
    """A function of ggml, which llama-cpp-python does not bind.

    Raises EngineError when this build does not export it.
    """
    # a copy of one's own, since the attribute of the library is shared
    try:
        address = ctypes.cast(getattr(library()._lib, name), ctypes.c_void_p).value
    except AttributeError as error:
        raise EngineError(f"this llama-cpp-python has no function {name}") from error
    return ctypes.CFUNCTYPE(result, *arguments)(address or 0)


def failure(what: str, hint: str | None = None) -> EngineError:
    """An EngineError that quotes llama.cpp's own error."""
    reason = log.take_error()
    return EngineError(f"{what}: {reason}" if reason else what, hint=hint)


@dataclass(eq=False)
class SharedModel:
    """Weights and vocabulary, loaded once for all engines on the same file."""

    key: tuple[object, ...]
    pointer: Any
    vocabulary: Any
    users: int = 0


_models: dict[tuple[object, ...], SharedModel] = {}


@dataclass(frozen=True)
class RemoteDevices:
    """Devices of RPC servers, for layers of one model."""

    servers: tuple[str, ...]
    pointers: Any
    """A C array of them that ends in NULL."""
    heard: Callable[[], None]
    """Called whenever a part of the weights has been sent."""


def acquire_model(
    path: Path,
    *,
    gpu_layers: int,
    mmap: bool,
    remote: RemoteDevices | None = None,
    weights: bool = True,
) -> SharedModel:
    """Load a model, or share the loaded one. Raises EngineError when llama.cpp refuses.

    With `remote` its layers go there, all of them where `gpu_layers` is 0, and none to a GPU here.
    Without `weights` it is a vocabulary, and runs nothing.
    """
    module = library()
    real = os.path.realpath(path)
    try:
        stat = os.stat(real)
    except OSError as error:
        raise EngineError(f"{path} cannot be read: {error.strerror}") from error
    servers = () if remote is None else remote.servers
    key = (real, stat.st_ino, stat.st_size, stat.st_mtime_ns, gpu_layers, mmap, weights, *servers)
    with _lock:
        shared = _models.get(key)
        if shared is None:
            parameters = module.llama_model_default_params()
            parameters.n_gpu_layers = gpu_layers
            parameters.vocab_only = not weights
            if hasattr(parameters, "load_mode"):
                parameters.load_mode = (
                    module.LLAMA_LOAD_MODE_MMAP if mmap else module.LLAMA_LOAD_MODE_NONE
                )
            else:  # releases before 0.3.30
                parameters.use_mmap = mmap
            if remote is not None:
                parameters.n_gpu_layers = gpu_layers or -1
                parameters.devices = ctypes.cast(remote.pointers, ctypes.c_void_p)
                progress = module.llama_progress_callback(lambda share, data: _go_on(remote))
                parameters.progress_callback = progress
            log.take_error()
            # not `real`: llama.cpp finds the parts of a split model by the name of the first
            name = os.fsencode(os.path.abspath(path))
            pointer = module.llama_model_load_from_file(name, parameters)
            if not pointer:
                raise failure(f"llama.cpp cannot load {path}")
            shared = SharedModel(key, pointer, module.llama_model_get_vocab(pointer))
            _models[key] = shared
        shared.users += 1
        return shared


def _go_on(remote: RemoteDevices) -> bool:
    remote.heard()
    return True


def release_model(shared: SharedModel) -> None:
    """Return a share; the last one frees the weights."""
    with _lock:
        shared.users -= 1
        if shared.users == 0:
            del _models[shared.key]
            _module.llama_model_free(shared.pointer)


FEW = 10_000_000
"""A model of fewer parameters runs on one thread."""


def default_threads(parameters: int) -> int:
    """Threads for a model: one where a forward takes a millisecond at most, else the usable cores.

    Threads of llama.cpp wait for each other by spinning. Of two that share busy cores with other
    programs, one often waits for a whole time slice (100 ms instead of 0.6), which a tiny model
    cannot win back.
    """
    return 1 if parameters < FEW else usable_cores()
