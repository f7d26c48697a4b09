"""Every command of the README is executed, in order, as a person would type it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from adec import practice

README = Path(__file__).parents[1] / "README.md"
ELSEWHERE = ("install", "test")
"""Blocks between these marks are what .ci/run executes in a fresh environment."""


def blocks() -> list[str]:
    """The shell blocks that are executed here."""
    text = README.read_text(encoding="utf-8")
    for mark in ELSEWHERE:
        text, count = re.subn(rf"<!-- {mark} -->.*?<!-- end -->", "", text, flags=re.DOTALL)
        assert count == 1, f"README.md has {count} blocks marked {mark}"
    return re.findall(r"^```sh\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the README says a person has: a GGUF pair, a Hugging Face folder, a question."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copy(practice.small_gguf(), folder / "small.gguf")
    shutil.copy(practice.large_gguf(), folder / "large.gguf")
    (folder / "my-model").symlink_to(practice.large_folder(), target_is_directory=True)
    (folder / "question.txt").write_text("Reverse the list: plum, fig, pear.\n")
    (folder / "completions").symlink_to(README.parent / "completions")
    return folder


@pytest.mark.parametrize("block", blocks())
def test_commands_work(block: str, place: Path, tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "HOME": str(tmp_path), "SHELL": "/bin/bash"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=place, env=environment, capture_output=True, text=True, timeout=240, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_the_sweep_table_has_the_papers_constants() -> None:
    text = README.read_text(encoding="utf-8")
    assert re.search(r"\| ead up=[\d.]+ window=5 dwell=10 ", text)
