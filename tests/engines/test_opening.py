"""What engines declare they can do, and how a path finds its backend."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

import adec
from adec.engines import opening
from adec.engines.base import Capability, Engine, Format, ModelHeader, OpenOptions
from adec.engines.protocols import PROTOCOLS
from adec.engines.table import TableEngine
from adec.errors import ModelFileError
from tests.engines.gguf.tiny_gguf import write_tiny_gguf, write_tiny_mamba
from tests.engines.torch.tiny_folder import write_tiny_folder

FULL = {"rewind", "tree", "layers", "vectors", "pseudo"}
Write = Callable[[Path], Path]


def table(path: Path) -> TableEngine:
    return TableEngine(lambda prefix: [0.5, 0.5], size=2, name=str(path))


@pytest.mark.parametrize("write", [write_tiny_gguf, write_tiny_mamba, write_tiny_folder, None])
def test_declared_capabilities_are_implemented(write: Write | None, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("llama_cpp")
    if write is None:
        engine: Engine = table(tmp_path)
    else:
        header = opening.read_header(write(tmp_path / "model"))
        engine = opening.open_engine(header, OpenOptions(context=64))
        assert engine.capabilities == header.capabilities
        assert header.missing.keys() == FULL - header.capabilities
    assert isinstance(engine, Engine)
    for capability in engine.capabilities:
        assert isinstance(engine, PROTOCOLS[capability]), capability
    engine.close()


def test_every_capability_has_a_protocol() -> None:
    assert set(get_args(Capability)) == set(PROTOCOLS)


def test_another_backend_is_one_more_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ab.letters"
    path.write_text("ab")

    def header_of(found: Path) -> ModelHeader:
        engine = table(found)
        info = replace(engine.info, format="letters")
        return ModelHeader(info, engine.vocabulary, engine.capabilities)

    letters = Format(
        "letters",
        fits=lambda found: found.suffix == ".letters",
        read_header=header_of,
        open=lambda header, options: table(header.info.path),
        devices=lambda: ["letters: paper"],
    )
    with pytest.raises(ModelFileError):
        opening.read_header(path)
    monkeypatch.setattr(opening, "FORMATS", (letters, *opening.FORMATS))
    header = opening.read_header(path)
    assert header.info.format == "letters"
    assert opening.open_engine(header, OpenOptions()).info.path == path
    assert "letters: paper" in opening.devices()


def test_nothing_at_a_path_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="neither a file nor a folder"):
        opening.read_header(tmp_path / "gone")


def test_only_engines_import_a_backend() -> None:
    package = Path(adec.__file__).parent
    for file in package.rglob("*.py"):
        room = file.relative_to(package).parts[0]
        allowed = {"engines": {"torch", "transformers", "llama_cpp"}}
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            backends = {name.partition(".")[0] for name in names} & allowed["engines"]
            assert backends <= allowed.get(room, set()), f"{file}:{node.lineno}"


def test_no_backend_is_imported_before_a_model_is_opened() -> None:
    code = (
        "import sys, adec.engines.opening, adec.engines.protocols;"
        "sys.exit(bool({'torch', 'transformers', 'llama_cpp'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
