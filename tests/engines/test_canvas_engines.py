"""Every canvas engine keeps the contract, and scores what other implementations score."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adec.engines.base import ModelHeader, OpenOptions
from adec.engines.canvas_model import CanvasModel
from adec.engines.opening import open_engine, read_header
from adec.engines.table_canvas import TableCanvas
from adec.errors import ModelFileError
from tests.engines.canvas_contract import CanvasContract, Fresh, rows_of
from tests.engines.gguf.test_gguf_header import BOOL, U32
from tests.engines.gguf.tiny_gguf import RawGguf, write_tiny_gguf
from tests.engines.tiny_canvas import MASK, write_llada_folder, write_practice_form

torch = pytest.importorskip("torch")
pytest.importorskip("llama_cpp")

OPTIONS = OpenOptions(context=64, threads=1)
DREAM_MASK = 1


def hashed(size: int, seed: int = 0) -> Callable[[tuple[int, ...], int], Sequence[float]]:
    """A law that depends on every token of the canvas; of the mask it says nothing likely."""

    def law(canvas: tuple[int, ...], place: int) -> Sequence[float]:
        rng = random.Random(f"{seed} {canvas} {place}")
        values = [math.exp(3 * rng.random()) for _ in range(size)]
        return [value / sum(values) for value in values]

    return law


@pytest.fixture(scope="module")
def practice(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Any]:
    return write_practice_form(tmp_path_factory.mktemp("practice"))


@pytest.fixture(scope="module")
def llada(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_llada_folder(tmp_path_factory.mktemp("llada"))


@pytest.fixture(scope="module")
def dream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_tiny_gguf(tmp_path_factory.mktemp("dream") / "x.gguf", architecture="dream")
    raw = RawGguf.read(path)
    raw.set("tokenizer.ggml.mask_token_id", U32, DREAM_MASK)
    return raw.write(path)


def opened(header: ModelHeader) -> Iterator[Fresh]:
    engines: list[CanvasModel] = []

    def fresh() -> CanvasModel:
        engine = open_engine(header, OPTIONS)
        assert isinstance(engine, CanvasModel)
        engines.append(engine)
        return engine

    fresh()
    yield fresh
    for engine in engines:
        engine.close()


class TestTableCanvas(CanvasContract):
    @pytest.fixture
    def fresh(self) -> Fresh:
        return lambda: TableCanvas(hashed(9), size=9, context=64)


class TestDreamFolder(CanvasContract):
    @pytest.fixture
    def fresh(self, practice: tuple[Path, Path, Any]) -> Iterator[Fresh]:
        yield from opened(read_header(practice[0]))


class TestLladaFolder(CanvasContract):
    @pytest.fixture
    def fresh(self, llada: tuple[Path, Path]) -> Iterator[Fresh]:
        yield from opened(read_header(llada[0]))


class TestLladaGguf(CanvasContract):
    tolerance = 1e-3

    @pytest.fixture
    def fresh(self, practice: tuple[Path, Path, Any]) -> Iterator[Fresh]:
        yield from opened(read_header(practice[1]))


class TestDreamGguf(CanvasContract):
    tolerance = 1e-3

    @pytest.fixture
    def fresh(self, dream: Path) -> Iterator[Fresh]:
        yield from opened(read_header(dream))


def test_folder_and_gguf_score_what_the_trained_module_scores(
    practice: tuple[Path, Path, Any],
) -> None:
    folder, gguf, module = practice
    canvas = [1, 50, 60, 70, 2, *[1280] * 9, 33, 1280]
    with torch.no_grad():
        own = module(torch.tensor([canvas]))[0].numpy()
    # position i is scored by row i - 1, the first one by itself
    wanted = np.concatenate((own[:1], own[:-1]))
    for path, tolerance in ((folder, 1e-3), (gguf, 5e-2)):
        engine = next(opened(read_header(path)))()
        rows = rows_of(engine.canvas_scores(canvas))
        assert np.abs(np.delete(rows - wanted, engine.mask, axis=1)).max() < tolerance
        assert np.abs(wanted).max() > 1


def test_a_llada_folder_scores_what_llama_scores_without_its_mask(
    llada: tuple[Path, Path],
) -> None:
    from transformers import LlamaForCausalLM

    folder, causal = llada
    canvas = [7, 30, MASK, MASK, 40, 8, MASK]
    module = LlamaForCausalLM.from_pretrained(causal, attn_implementation="eager")
    size = len(canvas)
    with torch.no_grad():
        own = module(torch.tensor([canvas]), attention_mask=torch.zeros(1, 1, size, size)).logits[0]
    engine = next(opened(read_header(folder)))()
    rows = rows_of(engine.canvas_scores(canvas))
    assert np.abs(np.delete(rows - own.numpy(), MASK, axis=1)).max() < 1e-3


def test_headers_say_mask_and_shift(
    practice: tuple[Path, Path, Any], llada: tuple[Path, Path], dream: Path
) -> None:
    for path, mask, shift, reuses in (
        (practice[0], 1280, True, True),
        (practice[1], 1280, True, False),
        (llada[0], MASK, False, True),
        (dream, DREAM_MASK, True, False),
    ):
        facts = read_header(path).canvas
        assert facts is not None
        assert (facts.mask, facts.shift, facts.reuses) == (mask, shift, reuses)


def test_a_model_without_mask_or_shift_is_refused(
    practice: tuple[Path, Path, Any], llada: tuple[Path, Path], tmp_path: Path
) -> None:
    def refusal(change: Callable[[RawGguf], object]) -> str:
        raw = RawGguf.read(practice[1])
        change(raw)
        with pytest.raises(ModelFileError) as caught:
            read_header(raw.write(tmp_path / "x.gguf"))
        return str(caught.value)

    assert "no mask token" in refusal(lambda raw: raw.drop("tokenizer.ggml.mask_token_id"))
    assert "no mask token" in refusal(
        lambda raw: raw.set("tokenizer.ggml.mask_token_id", U32, 1281)
    )
    assert "which row scores" in refusal(lambda raw: raw.drop("diffusion.shift_logits"))
    assert "not a boolean" in refusal(lambda raw: raw.set("diffusion.shift_logits", U32, 1))
    kept = (llada[0] / "config.json").read_text()
    try:
        for mask in (None, True, 10**6, "0"):
            config = json.loads(kept) | {"mask_token_id": mask}
            (llada[0] / "config.json").write_text(json.dumps(config))
            with pytest.raises(ModelFileError, match="no mask token"):
                read_header(llada[0])
        for key, value in (("n_heads", 7), ("n_layers", -1), ("rope_scaling", {"x": 1})):
            config = json.loads(kept) | {key: value}
            (llada[0] / "config.json").write_text(json.dumps(config))
            with pytest.raises(ModelFileError):
                read_header(llada[0])
    finally:
        (llada[0] / "config.json").write_text(kept)


def test_unshifted_files_are_read_as_they_say(
    practice: tuple[Path, Path, Any], tmp_path: Path
) -> None:
    raw = RawGguf.read(practice[1])
    raw.set("diffusion.shift_logits", BOOL, False)
    path = raw.write(tmp_path / "x.gguf")
    canvas = [1, 50, 60, 2, *[1280] * 5]
    shifted = next(opened(read_header(practice[1])))().canvas_scores(canvas)
    straight = next(opened(read_header(path)))().canvas_scores(canvas)
    assert np.array_equal(rows_of(shifted)[1:], rows_of(straight)[:-1])
