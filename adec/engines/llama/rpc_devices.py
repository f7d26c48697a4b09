"""Hands the devices of RPC servers to llama.cpp, for one model and no other.

llama.cpp would give layers of every model to devices that are registered with it. These are not:
they are named when the weights are loaded.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence

from adec.engines.llama.llama_library import RemoteDevices, ggml_function, library
from adec.engines.llama.rpc_addresses import Address
from adec.errors import EngineError

INSTALL = (
    'CMAKE_ARGS="-DGGML_RPC=on" pip install --force-reinstall --no-deps --no-cache-dir'
    " --no-binary llama-cpp-python llama-cpp-python=={version}"
)

_POINTER = ctypes.c_void_p


def check_support() -> None:
    """Raise EngineError, with the command that installs it, where llama.cpp has no RPC."""
    if not library().llama_supports_rpc():
        raise EngineError(
            "--rpc needs a llama-cpp-python that is built with RPC, and this one is not",
            hint=f"build it: {INSTALL.format(version=_version())}",
        )


def supports_rpc() -> bool:
    """Whether llama.cpp has RPC. Raises EngineError when it does not load."""
    return bool(library().llama_supports_rpc())


def _version() -> str:
    import llama_cpp

    return str(llama_cpp.__version__)


def add_servers(servers: Sequence[Address], heard: Callable[[], None]) -> RemoteDevices:
    """Connect to servers, in the order in which they shall get layers.

    Runs inside a `Containment` only. Raises EngineError.
    """
    check_support()
    registry = ggml_function("ggml_backend_reg_by_name", _POINTER, ctypes.c_char_p)(b"RPC")
    find = ggml_function("ggml_backend_reg_get_proc_address", _POINTER, _POINTER, ctypes.c_char_p)
    address = find(registry, b"ggml_backend_rpc_add_server") if registry else None
    if not address:
        raise EngineError("this llama-cpp-python is too old for --rpc")
    add = ctypes.CFUNCTYPE(_POINTER, ctypes.c_char_p)(address)
    count = ggml_function("ggml_backend_reg_dev_count", ctypes.c_size_t, _POINTER)
    device = ggml_function("ggml_backend_reg_dev_get", _POINTER, _POINTER, ctypes.c_size_t)
    found: list[int] = []
    for server in servers:
        own = add(str(server).encode("ascii"))
        if not own:
            raise EngineError(f"the RPC server {server} has no devices")
        found += [device(own, index) for index in range(count(own))]
    pointers = (_POINTER * (len(found) + 1))(*found, None)
    return RemoteDevices(tuple(map(str, servers)), pointers, heard)
