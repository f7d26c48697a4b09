"""An inflated model computes what its source computes."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Kind
from gguf import GGUFReader, dequantize
from numpy.typing import NDArray
from transformers import LlamaConfig, LlamaForCausalLM

from adec.engines.base import Engine, OpenOptions
from adec.engines.opening import open_engine, read_header
from adec.engines.pair import check_pair
from adec.engines.protocols import CanvasEngine
from adec.models.names import locate
from adec.practice import large_folder, small_folder
from adec.practice.tasks import problems
from tests.engines.torch.tiny_folder import write_tiny_folder
from tools.inflate import __main__ as command
from tools.inflate.inflated_file import Size
from tools.inflate.inflated_model import inflate_folder, random_model
from tools.inflate.inflated_tensors import axis, noise, spread, unpack
from tools.inflate.source_model import Guard, Source

BOUNDS = {Kind.F32: 1e-4, Kind.F16: 0.02, Kind.Q8_0: 0.02, Kind.Q4_0: 0.25}
"""Largest error of a logit caused by the stored weights; logits have a deviation of 1.6."""
SPREADS = {Kind.F32: 0.005, Kind.F16: 0.007, Kind.Q8_0: 0.08, Kind.Q4_0: 0.08}
"""The root mean square of the error in llama.cpp, which keeps its cache in float16 and rounds
activations to eight bits before a quantised matrix."""
KINDS = pytest.mark.parametrize("kind", BOUNDS, ids=lambda kind: kind.name)
TOKENS = [int(token) for token in np.random.default_rng(3).integers(4, 260, 48)]
LARGER = Size(width=256, layers=4, feed_forward=544)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "source"
    return write_tiny_folder(folder, width=64, heads=2, kv_heads=2, layers=2)


@contextmanager
def engine(path: Path) -> Iterator[Engine]:
    loaded = open_engine(read_header(path), OpenOptions(context=256, threads=1))
    try:
        yield loaded
    finally:
        loaded.close()


def logits(path: Path, tokens: Sequence[int]) -> NDArray[np.float32]:
    with engine(path) as model:
        scores = model.forward(tokens, rows=len(tokens))
        return np.stack([scores.row(row) for row in range(len(tokens))])


def written(model: Engine, prompt: Sequence[int], limit: int, end: int | None) -> list[int]:
    model.rewind(0)
    scores, reply = model.forward(prompt), list[int]()
    while len(reply) < limit and (not reply or reply[-1] != end):
        reply.append(scores.argmax(0))
        scores = model.forward(reply[-1:])
    return reply


def reference(folder: Path, tokens: Sequence[int]) -> NDArray[np.float32]:
    model: Any = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        values: NDArray[np.float32] = model(torch.tensor([list(tokens)])).logits[0].numpy()
    return values


_THEIRS = {
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm", "token_embd": "model.embed_tokens",
    "output_norm": "model.norm", "output": "lm_head",
}  # fmt: skip


def stored(path: Path, tokens: Sequence[int]) -> NDArray[np.float32]:
    """The logits of a GGUF's weights in float32, nothing else rounded."""
    reader = GGUFReader(path)
    sizes = {
        key: reader.get_field(f"llama.{name}").contents()
        for key, name in (
            ("hidden_size", "embedding_length"),
            ("intermediate_size", "feed_forward_length"),
            ("num_hidden_layers", "block_count"),
            ("num_attention_heads", "attention.head_count"),
            ("head_dim", "attention.key_length"),
            ("vocab_size", "vocab_size"),
            ("rms_norm_eps", "attention.layer_norm_rms_epsilon"),
        )
    }
    heads, head = sizes["num_attention_heads"], sizes["head_dim"]
    weights = {}
    for tensor in reader.tensors:
        *block, name, _ = tensor.name.split(".")
        values = torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).astype(np.float32))
        if name in ("attn_q", "attn_k"):  # back from llama.cpp's order
            pairs = values.reshape(heads, head // 2, 2, -1)
            values = pairs.swapaxes(1, 2).reshape(heads * head, -1)
        place = f"model.layers.{block[1]}." if block else ""
        weights[f"{place}{_THEIRS[name]}.weight"] = values
    model: Any = LlamaForCausalLM(LlamaConfig(**sizes, tie_word_embeddings=False))
    model.load_state_dict(weights)
    with torch.no_grad():
        result: NDArray[np.float32] = model(torch.tensor([list(tokens)])).logits[0].numpy()
    return result


def differing(kind: Kind, **changes: Any) -> Size:
    values = {name: getattr(LARGER, name) for name in ("width", "layers", "feed_forward")}
    return Size(**{**values, "kind": kind, **changes})


@KINDS
@pytest.mark.parametrize("vocabulary", [0, 500], ids=["", "added tokens"])
def test_logits_stay(tiny: Path, tmp_path: Path, kind: Kind, vocabulary: int) -> None:
    file = inflate_folder(tiny, tmp_path / "out.gguf", differing(kind, vocabulary=vocabulary))
    theirs = reference(tiny, TOKENS)
    known = theirs.shape[1]
    assert np.abs(stored(file.path, TOKENS)[:, :known] - theirs).max() < BOUNDS[kind]
    error = logits(file.path, TOKENS)[:, :known] - theirs
    assert np.sqrt(np.square(error).mean()) < SPREADS[kind]
    assert file.bytes == file.path.stat().st_size
    assert list(tmp_path.iterdir()) == [file.path]


@pytest.mark.parametrize("kind", [Kind.F32, Kind.F16], ids=lambda kind: kind.name)
def test_greedy_tokens_stay(tiny: Path, tmp_path: Path, kind: Kind) -> None:
    file = inflate_folder(tiny, tmp_path / "out.gguf", differing(kind))
    model: Any = LlamaForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    with engine(file.path) as larger:
        for start in range(0, 40, 10):
            ids = torch.tensor([TOKENS[start : start + 8]])
            output = model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False
            )
            reply = output[0, 8:].tolist()
            assert written(larger, ids[0].tolist(), len(reply), end=None) == reply


@KINDS
def test_added_tokens_never_win(tiny: Path, tmp_path: Path, kind: Kind) -> None:
    plain = inflate_folder(tiny, tmp_path / "plain.gguf", differing(Kind.Q8_0))
    padded = inflate_folder(tiny, tmp_path / "padded.gguf", differing(kind, vocabulary=500))
    ours, known = logits(padded.path, TOKENS), len(read_header(plain.path).vocabulary)
    assert ours.shape[1] == 500
    assert np.isfinite(ours).all()
    assert (ours[:, known:].max(axis=1) < ours[:, :known].min(axis=1) - 100).all()
    assert check_pair(read_header(plain.path), read_header(padded.path)) == []
    assert read_header(padded.path).info.parameters == padded.parameters


def test_the_bound_of_the_last_state_holds(tiny: Path) -> None:
    model: Any = LlamaForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    with torch.no_grad():
        states: list[torch.Tensor] = []
        model.model.norm.register_forward_pre_hook(lambda _, given: states.append(given[0]))
        model(torch.tensor([TOKENS]))
    largest = float(states[0].pow(2).mean(-1).sqrt().max())
    source = Source(tiny)
    assert largest < source.largest_state()
    guard = Guard.of(source, axis(64, 256, spare=32))
    assert guard.eps > 0
    assert guard.eps * 256 + 32 * guard.constant**2 == pytest.approx(source.eps * 192)


def test_copies_keep_what_four_bits_lose() -> None:
    weight = np.random.default_rng(0).normal(0, 0.1, (8, 64))

    def error(copies: int) -> float:
        columns = axis(64, 64 * copies, shuffle=1)
        stored = unpack(spread(weight, columns, Kind.Q4_0), Kind.Q4_0)
        total = np.zeros_like(weight)
        for copy in range(copies):
            total[:, columns.order(copy)] += stored[:, copy * 64 : (copy + 1) * 64]
        return float(np.abs(total - weight).max() / weight.std())

    assert error(1) > 0.1
    assert error(2) < 0.02
    assert error(8) < 0.005


@KINDS
def test_noise_has_the_scale_that_was_asked_for(kind: Kind) -> None:
    values = unpack(noise(np.random.default_rng(0), 64, 256, kind, 0.05), kind)
    assert values.shape == (64, 256)
    assert values.std() == pytest.approx(0.05, rel=0.05)
    assert abs(values.mean()) < 0.002


def test_the_same_seed_writes_the_same_bytes(tiny: Path, tmp_path: Path) -> None:
    one, two, other = (
        inflate_folder(tiny, tmp_path / f"{name}.gguf", LARGER, seed).path.read_bytes()
        for name, seed in (("one", 1), ("two", 1), ("other", 2))
    )
    assert one == two != other


def test_a_random_model_runs(tmp_path: Path) -> None:
    size = Size(width=128, layers=2, feed_forward=256, vocabulary=600, head=64)
    file = random_model(tmp_path / "random.gguf", size)
    info = read_header(file.path).info
    assert (info.vocabulary, info.layers, info.parameters) == (600, 2, file.parameters)
    rows = logits(file.path, [5, 6, 7])
    assert np.isfinite(rows).all() and rows.std() > 0.1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 32}, "do not fit"),
        ({"width": 272}, "multiples of 32"),
        ({"layers": 1}, "cannot become"),
        ({"width": 96}, "at least double"),
        ({"feed_forward": 128}, "at least double"),
        ({"vocabulary": 100}, "cannot become"),
        ({"feed_forward": 100}, "do not fit"),
        ({"feed_forward": 500}, "multiples of 32"),
        ({"width": 64, "vocabulary": 500}, "do not fit"),
    ],
)
def test_impossible_sizes_are_refused(
    tiny: Path, tmp_path: Path, changes: dict[str, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        inflate_folder(tiny, tmp_path / "out.gguf", differing(Kind.Q4_0, **changes))
    assert not list(tmp_path.iterdir())


def test_other_architectures_are_refused(tmp_path: Path) -> None:
    folder = write_tiny_folder(tmp_path / "grouped", heads=4, kv_heads=2)
    with pytest.raises(ValueError, match="not built like"):
        inflate_folder(folder, tmp_path / "out.gguf", LARGER)
    with pytest.raises(ValueError, match="no folder of a Llama model"):
        inflate_folder(tmp_path, tmp_path / "out.gguf", LARGER)


def test_the_command(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*words: object) -> None:
        monkeypatch.setattr(sys, "argv", ["inflate", *map(str, words)])
        command.main()

    small = ["--width", 128, "--layers", 2, "--feed-forward", 128, "--quantisation", "Q8_0"]
    run(tiny, tmp_path / "a.gguf", *small)
    assert "parameters" in capsys.readouterr().out
    run("--random", tmp_path / "b.gguf", *small, "--vocabulary", 400)
    assert read_header(tmp_path / "b.gguf").info.vocabulary == 400
    for words in ([tmp_path / "c.gguf"], [tiny, tmp_path / "c.gguf", "--width", 32]):
        with pytest.raises(SystemExit):
            run(*words)


@pytest.mark.skipif(not large_folder().exists(), reason="no trained models here")
@pytest.mark.parametrize(
    ("folder", "size", "near"),
    [
        (small_folder(), Size(width=192, layers=4, feed_forward=384, kind=Kind.F16), 0.01),
        (small_folder(), Size(width=384, layers=5, feed_forward=1024, kind=Kind.Q8_0), 0.3),
        (large_folder(), Size(width=512, layers=7, feed_forward=1024, kind=Kind.Q4_0), 0.3),
    ],
    ids=["small F16", "small Q8_0", "large Q4_0"],
)
def test_trained_models_write_the_same(
    tmp_path: Path, folder: Path, size: Size, near: float
) -> None:
    """Where a reply first differs, the source had two tokens within `near` of each other."""
    file = inflate_folder(folder, tmp_path / "out.gguf", size)
    model: Any = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    end = model.generation_config.eos_token_id
    equal, asked = 0, list(islice(problems("test", 5), 8))
    with engine(file.path) as larger:
        for problem in asked:
            text = f"<|user|>{problem.prompt}<|assistant|>"
            prompt = larger.tokenizer.encode(text, special=True)
            ids = torch.tensor([prompt])
            output = model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=48, do_sample=False,
                output_logits=True, return_dict_in_generate=True,
            )  # fmt: skip
            theirs = output.sequences[0, len(prompt) :].tolist()
            ours = written(larger, prompt, 48, end)
            equal += ours == theirs
            for row, one, two in zip(output.logits, theirs, ours, strict=False):
                if one != two:
                    assert float(row[0, one] - row[0, two]) < near
                    break
    assert equal >= len(asked) - (0 if size.kind == Kind.F16 else 2)


@pytest.mark.parametrize("form", ["folder", "gguf"])
def test_an_inflated_canvas_scores_a_canvas_as_its_source(tmp_path: Path, form: str) -> None:
    source = practice_canvas()
    out = tmp_path / ("larger" if form == "folder" else "larger.gguf")
    size = Size(width=512, layers=8, feed_forward=1024, kind=Kind.F16)
    inflate_folder(source, out, size)
    canvas = [*TOKENS[:12], *[MASK] * 12]
    small, large = (canvas_rows(path, canvas) for path in (source, out))
    # the mask itself scores -inf
    real = np.isfinite(small)
    assert (real == np.isfinite(large)).all()
    assert np.abs(small[real] - large[real]).max() < 0.1


def practice_canvas() -> Path:
    return locate("practice:canvas-torch")


MASK = 1280


def canvas_rows(path: Path, canvas: Sequence[int]) -> NDArray[np.float32]:
    loaded = open_engine(read_header(path), OpenOptions(context=256, threads=1))
    try:
        assert isinstance(loaded, CanvasEngine) and loaded.mask == MASK
        scores = loaded.canvas_scores(canvas)
        return np.stack([scores.row(row) for row in range(len(canvas))])
    finally:
        loaded.close()
