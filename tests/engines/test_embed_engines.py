"""Every engine that reads vectors keeps the contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from adec.engines.base import OpenOptions
from adec.engines.llama.gguf.gguf_header import ROW_FUNCTIONS
from adec.engines.opening import open_engine, read_header
from adec.engines.table import TableEngine
from adec.practice import large_gguf
from adec.tree import ROOT, TokenTree
from tests.engines.embed_contract import EmbedContract
from tests.engines.gguf.tiny_gguf import write_tiny_gguf
from tests.engines.torch.tiny_folder import write_tiny_folder
from tests.laws import law

OPTIONS = OpenOptions(context=512, threads=1)


def opened(path: Path, engine: Any = None) -> Iterator[Any]:
    header = read_header(path, engine)
    engines: list[Any] = []

    def fresh() -> Any:
        engines.append(open_engine(header, OPTIONS))
        return engines[-1]

    fresh()  # holds the weights
    yield fresh
    for one in engines:
        one.close()


class TestTable(EmbedContract):
    @pytest.fixture
    def fresh(self) -> Any:
        return lambda: TableEngine(law(12, 3), size=12)


class TestTorch(EmbedContract):
    @pytest.fixture(scope="class")
    def folder(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        pytest.importorskip("torch")
        return write_tiny_folder(tmp_path_factory.mktemp("models") / "tiny")

    @pytest.fixture
    def fresh(self, folder: Path) -> Iterator[Any]:
        yield from opened(folder)


class TestLlama(EmbedContract):
    tolerance = 3e-2

    @pytest.fixture(scope="class")
    def file(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        pytest.importorskip("llama_cpp")
        return write_tiny_gguf(tmp_path_factory.mktemp("models") / "tiny.gguf")

    @pytest.fixture
    def fresh(self, file: Path) -> Iterator[Any]:
        yield from opened(file)


class TestGgufOnTorch(TestLlama):
    tolerance = 1e-4

    @pytest.fixture
    def fresh(self, file: Path) -> Iterator[Any]:
        pytest.importorskip("torch")
        yield from opened(file, "torch")


def test_llama_cpp_gives_the_same_numbers_for_ids_and_for_their_embeddings() -> None:
    pytest.importorskip("llama_cpp")
    engine: Any = next(opened(large_gguf()))()
    tree = TokenTree()
    for parent, token in ((ROOT, 5), (0, 6), (0, 7), (1, 8), (3, 9)):
        tree.add(parent, token)
    found = []
    for vectors in ({}, {4: engine.embeddings([9])[0]}):
        engine.rewind(0)
        engine.forward(list(range(3, 30)), rows=0)
        scores = engine.forward_tree_vectors(tree, vectors)
        found.append(np.stack([scores.row(i) for i in range(5)]))
    np.testing.assert_array_equal(*found)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("kind", [kind for kind in ROW_FUNCTIONS if kind != "F32"])
def test_rows_of_every_type_are_those_of_the_package_gguf(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("llama_cpp")
    from gguf.quants import dequantize

    from adec.engines.llama.embed_engine import EmbeddingTable
    from adec.engines.llama.gguf.gguf_values import Tensor

    block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    width, count = 512, 7
    row = width // block * size
    rng = np.random.default_rng(2)
    raw = rng.integers(0, 256, (count, row), dtype=np.uint8)
    if kind in ("F16", "BF16"):
        values = rng.normal(size=(count, width)).astype(np.float32)
        raw = gguf.quants.quantize(values, gguf.GGMLQuantizationType[kind]).view(np.uint8)
    path = tmp_path / "rows"
    path.write_bytes(b"head" + raw.tobytes())
    table = EmbeddingTable(Tensor("t", (width, count), kind, width * count, row * count, path, 4))
    wanted = dequantize(
        raw.view(np.float16) if kind == "F16" else raw, gguf.GGMLQuantizationType[kind]
    )
    tokens = [3, 0, 3, 6]
    found, wanted = table.rows(tokens), wanted[tokens].astype(np.float32)
    # random scales may be no number; what is one agrees to the last bits
    finite = np.isfinite(wanted)
    np.testing.assert_allclose(found[finite], wanted[finite], rtol=1e-5, atol=1e-3)
