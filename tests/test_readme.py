"""Every command of the README and of the pages for users is executed, as a person would type it.

Blocks after `<!-- slow -->` and those of `docs/` take long: `python -m pytest -m slow` runs them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adec import practice

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = ("run", "models", "calibration", "bench", "inspect")
ELSEWHERE = ("install", "test")
"""Blocks between these marks are what .ci/run executes in a fresh environment."""
README_BYTES = 12_000
BLOCK = re.compile(r"^(<!-- slow -->\n)?```sh\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)


def blocks() -> Iterator[Any]:
    """The shell blocks as parameters, named after their page and first line."""
    text = README.read_text(encoding="utf-8")
    for mark in ELSEWHERE:
        text, count = re.subn(rf"<!-- {mark} -->.*?<!-- end -->", "", text, flags=re.DOTALL)
        assert count == 1, f"README.md has {count} blocks marked {mark}"
    pages = {name: (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in PAGES}
    for page, content in {"README": text, **pages}.items():
        for number, match in enumerate(BLOCK.finditer(content), 1):
            slow = pytest.mark.slow if match[1] or page != "README" else ()
            yield pytest.param(match[2], id=f"{page}-{number}", marks=slow)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the pages say a person has: a GGUF pair, a folder, a question."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copy(practice.small_gguf(), folder / "small.gguf")
    shutil.copy(practice.large_gguf(), folder / "large.gguf")
    (folder / "my-model").symlink_to(practice.large_folder(), target_is_directory=True)
    (folder / "question.txt").write_text("Reverse the list: plum, fig, pear.\n")
    for name in ("completions", "tools"):
        (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.mark.parametrize("block", blocks())
def test_commands_work(block: str, place: Path, tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "HOME": str(tmp_path), "SHELL": "/bin/bash"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_a_newcomer_is_not_kept_long() -> None:
    assert len(README.read_bytes()) <= README_BYTES
