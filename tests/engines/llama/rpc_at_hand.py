"""Whether RPC can be tested for real here: a llama.cpp with RPC, a server, and namespaces."""

from __future__ import annotations

import os
import shutil

import pytest

from adec.engines.llama.rpc_devices import supports_rpc

# read now: the tests' own home has no such variables
SERVER = os.environ.get("ADEC_TEST_RPC_SERVER") or shutil.which("ggml-rpc-server") or ""
"""The RPC server's program; empty where there is none."""


def obstacle() -> str | None:
    """Why not; None where it can."""
    if not supports_rpc():
        return "llama-cpp-python is built without RPC here"
    if not SERVER:
        return "there is no ggml-rpc-server here (ADEC_TEST_RPC_SERVER names one)"
    return None


needs_rpc = pytest.mark.skipif(obstacle() is not None, reason=str(obstacle()))
