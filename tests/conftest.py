"""Fixtures for all: a home that is nobody's, tiny models."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # so it is in the background of a shell without job control, and what the tests start would be
    # deaf to Ctrl-C, too
    signal.signal(signal.SIGINT, signal.default_int_handler)

# no test measures seconds: an example may take as long as a busy machine needs
settings.register_profile("adec", deadline=None)
settings.load_profile("adec")


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Move everything that adec keeps for a user into a folder of this test."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("ADEC_HOME", str(folder))
    for name in os.environ:
        if name in ("NO_COLOR", "FORCE_COLOR") or (
            name.startswith("ADEC_") and name != "ADEC_HOME"
        ):
            monkeypatch.delenv(name)
    return folder


@pytest.fixture(scope="session")
def tiny_pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(small, large): GGUF files of random weights that share a vocabulary."""
    from tests.engines.gguf.tiny_gguf import write_tiny_gguf

    folder = tmp_path_factory.mktemp("models")
    return (
        write_tiny_gguf(folder / "small.gguf", seed=1, layers=1),
        write_tiny_gguf(folder / "large.gguf", seed=2, layers=3),
    )
