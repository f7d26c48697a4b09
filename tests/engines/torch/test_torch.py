"""The torch engine keeps the contract, and what is special to it."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from adec.decoding.pair.clock.cost_curve import CostCurve
from adec.decoding.pair.clock.kept_curve import keep_curve, kept_curve
from adec.engines.base import OpenOptions
from adec.engines.torch.folder_files import TensorEntry
from adec.engines.torch.folder_header import read_folder_header
from adec.engines.torch.format_choice import FormatTimes
from adec.errors import EngineError
from adec.signals import ArrayScores
from adec.tree import TokenTree
from tests.engines.contract import EngineContract, assert_rows_equal, log_probabilities
from tests.engines.torch.tiny_folder import CONTROL, write_tiny_folder

torch = pytest.importorskip("torch")

from safetensors.torch import load_file, save_file  # noqa: E402

from adec.engines.torch import torch_cache, torch_engine, torch_weights  # noqa: E402
from adec.engines.torch.format_probe import WORTH, layer_shapes  # noqa: E402
from adec.engines.torch.tensor_scores import TensorScores  # noqa: E402
from adec.engines.torch.torch_engine import TorchEngine  # noqa: E402

Open = Callable[..., TorchEngine]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_folder(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def windowed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_folder(tmp_path_factory.mktemp("models") / "windowed", sliding_window=7)


def _factory(folder: Path) -> Iterator[Open]:
    header = read_folder_header(folder)
    engines: list[TorchEngine] = []

    def fresh(**options: object) -> TorchEngine:
        # one thread: threads that wait for each other are slow on a busy machine
        chosen = OpenOptions(context=1024, threads=1, **options)  # type: ignore[arg-type]
        engines.append(TorchEngine.open(header, chosen))
        return engines[-1]

    fresh()  # holds the weights, so that every other engine opens at once
    yield fresh
    for engine in engines:
        engine.close()


class TestTorchContract(EngineContract):
    tolerance = 1e-4
    examples = 12
    steps = 8

    @pytest.fixture
    def fresh(self, tiny: Path) -> Iterator[Open]:
        yield from _factory(tiny)


@pytest.fixture
def fresh(tiny: Path) -> Iterator[Open]:
    yield from _factory(tiny)


@pytest.fixture
def fresh_windowed(windowed: Path) -> Iterator[Open]:
    yield from _factory(windowed)


def greedy(engine: TorchEngine, prompt: list[int], count: int) -> list[int]:
    scores = engine.forward(prompt)
    tokens = [scores.argmax(0)]
    while len(tokens) < count:
        tokens.append(engine.forward(tokens[-1:]).argmax(0))
    return tokens


def generated(engine: TorchEngine, prompt: list[int], count: int) -> list[int]:
    """What transformers' own loop writes."""
    ids = torch.tensor([prompt])
    model = engine.module
    kept, model.generation_config.eos_token_id = model.generation_config.eos_token_id, None
    try:
        out = model.generate(ids, max_new_tokens=count, do_sample=False, pad_token_id=0)
    finally:
        model.generation_config.eos_token_id = kept
    tokens: list[int] = out[0, len(prompt) :].tolist()
    return tokens


@pytest.mark.parametrize("model", ["fresh", "fresh_windowed"])
def test_greedy_equals_generate(model: str, request: pytest.FixtureRequest) -> None:
    engine: TorchEngine = request.getfixturevalue(model)()
    # past the first buffer of 256 positions, so that a growing cache is in it
    prompt = list(range(10, 250))
    assert greedy(engine, prompt, 40) == generated(engine, prompt, 40)


def test_sliding_window_rewinds_beyond_its_window(fresh_windowed: Open) -> None:
    tokens = [random.Random(5).randrange(271) for _ in range(60)]
    engine, whole = fresh_windowed(), fresh_windowed()
    assert engine.capabilities == {"rewind"}
    expected = log_probabilities(whole.forward(tokens, rows=60))
    engine.forward(tokens[:50], rows=0)
    for length in (44, 20, 3, 0):
        engine.rewind(length)
        rows = log_probabilities(engine.forward(tokens[length : length + 9], rows=9))
        assert_rows_equal(rows, expected[length : length + 9], 1e-4)
    with pytest.raises(EngineError, match="no token trees"):
        tree = TokenTree.chain([1, 2])
        tree.add(0, 3)
        engine.forward_tree(tree)
    engine.rewind(9)
    rows = log_probabilities(engine.forward_tree(TokenTree.chain(tokens[9:15])))
    assert_rows_equal(rows, expected[9:15], 1e-4)
    engine.keep([0, 1])
    assert_rows_equal(log_probabilities(engine.forward([tokens[11]])), expected[11:12], 1e-4)


def test_engines_share_weights_and_not_sequences(tiny: Path) -> None:
    header = read_folder_header(tiny)
    before = len(torch_weights._loaded)
    one, two = (TorchEngine.open(header, OpenOptions()) for _ in range(2))
    half = TorchEngine.open(header, OpenOptions(dtype="bfloat16"))
    assert one.module is two.module is not half.module
    assert len(torch_weights._loaded) == before + 2
    one.forward([1, 2, 3])
    assert (one.length, two.length) == (3, 0)
    one.close()
    one.close()
    assert len(two.forward([1])) == 1
    two.close()
    half.close()
    assert len(torch_weights._loaded) == before


def test_other_types_give_finite_float32_rows(fresh: Open) -> None:
    for dtype in ("bfloat16", "float16"):
        row = fresh(dtype=dtype).forward([5, 6, 7]).row(0)
        assert row.dtype == np.float32
        assert np.isfinite(row).all()


def test_context_is_the_smaller_of_wish_and_limit(tiny: Path) -> None:
    header = read_folder_header(tiny)
    for wish, expected in ((None, 2048), (100, 100), (99999, 2048)):
        engine = TorchEngine.open(header, OpenOptions(context=wish))
        assert engine.context == expected
        engine.close()
    with pytest.raises(EngineError):
        TorchEngine.open(header, OpenOptions(context=-1))


def test_a_full_context_takes_the_last_token_and_no_more(tiny: Path) -> None:
    engine = TorchEngine.open(read_folder_header(tiny), OpenOptions(context=16))
    engine.forward(list(range(15)), rows=0)
    engine.forward([1])
    with pytest.raises(EngineError, match="full"):
        engine.forward([1])
    with pytest.raises(EngineError, match="full"):
        engine.forward_tree(TokenTree.chain([1]))
    engine.close()


@pytest.mark.parametrize(
    ("failure", "words"),
    [(torch.OutOfMemoryError("CUDA out of memory"), "memory"), (RuntimeError("a\nb"), "failed: a")],
)
def test_a_failed_forward_changes_nothing(
    fresh: Open, failure: Exception, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, other = fresh(), fresh()
    engine.forward([1, 2, 3], rows=0)

    def fail(*args: object) -> None:
        raise failure

    for call in (lambda: engine.forward([4, 5]), lambda: engine.forward_tree(TokenTree.chain([4]))):
        # the first layer has written its keys when the second one fails
        handle = engine.module.model.layers[1].register_forward_pre_hook(fail)
        with pytest.raises(EngineError, match=words) as caught:
            call()
        handle.remove()
        assert "\n" not in str(caught.value)
        assert engine.length == 3
    rows = log_probabilities(engine.forward([4]))
    assert_rows_equal(rows, log_probabilities(other.forward([1, 2, 3, 4])), 1e-4)


def test_an_interrupt_passes_and_changes_nothing(fresh: Open) -> None:
    engine, other = fresh(), fresh()
    engine.forward([1, 2, 3], rows=0)

    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    handle = engine.module.model.layers[1].register_forward_pre_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        engine.forward([4, 5])
    handle.remove()
    rows = log_probabilities(engine.forward([4]))
    assert_rows_equal(rows, log_probabilities(other.forward([1, 2, 3, 4])), 1e-4)


def test_without_rewind_a_failure_loses_the_sequence_and_says_so(tiny: Path) -> None:
    header = read_folder_header(tiny)
    plain = replace(header, capabilities=frozenset())
    engine = TorchEngine.open(plain, OpenOptions())
    engine.forward([1, 2], rows=0)
    engine.rewind(2)
    with pytest.raises(EngineError, match="rewound"):
        engine.rewind(1)
    handle = engine.module.model.layers[1].register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(EngineError, match="division"):
        engine.forward([3])
    handle.remove()
    with pytest.raises(EngineError, match="lost"):
        engine.forward([3])
    engine.rewind(0)
    engine.forward([3])
    assert engine.length == 1
    engine.close()


def test_without_rewind_a_prompt_is_one_forward_and_later_ones_are_single(tiny: Path) -> None:
    plain = replace(read_folder_header(tiny), capabilities=frozenset())
    engine = TorchEngine.open(plain, OpenOptions())
    sizes: list[int] = []
    handle = engine.module.model.layers[0].register_forward_pre_hook(
        lambda _, args: sizes.append(args[0].shape[1])
    )
    engine.forward([1] * 1030, rows=0)
    assert len(engine.forward([1, 2, 3], rows=2)) == 2
    handle.remove()
    engine.close()
    assert sizes == [1030, 1, 1, 1]


def test_rows_beyond_the_tokens_are_there(tmp_path: Path) -> None:
    header = read_folder_header(write_tiny_folder(tmp_path / "padded", vocabulary=320, tied=False))
    assert len(header.vocabulary) == 320
    assert header.vocabulary.pieces[300] == b""
    engine = TorchEngine.open(header, OpenOptions())
    assert engine.forward([1, 319]).row(0).shape == (320,)
    engine.close()


def test_missing_weights_and_devices_are_one_line(tmp_path: Path, tiny: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = write_tiny_folder(tmp_path / "holed", layers=1)
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.0.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EngineError, match="up_proj") as caught:
        TorchEngine.open(read_folder_header(folder), OpenOptions())
    assert "\n" not in str(caught.value)
    for device in ("cuda:77", "tpu", "meta"):
        with pytest.raises(EngineError) as caught:
            TorchEngine.open(read_folder_header(tiny), OpenOptions(device=device))
        assert "\n" not in str(caught.value)


def test_special_false_takes_control_names_as_text(fresh: Open) -> None:
    tokenizer = fresh().tokenizer
    for name in CONTROL:
        text = f"the {name}ing"
        assert CONTROL.index(name) in tokenizer.encode(text, special=True)
        ids = tokenizer.encode(text, special=False)
        assert not set(ids) & set(range(len(CONTROL)))
        assert b"".join(fresh().vocabulary.pieces[i] for i in ids) == text.encode()


def test_ids_spell_the_text(fresh: Open) -> None:
    engine = fresh()
    for text in ("", "hello the thing 123\n\n  x", "naïve 漢字 🙂", "a\udc80b", "\x00\x7f"):
        ids = engine.tokenizer.encode(text, special=False)
        spelt = b"".join(engine.vocabulary.pieces[i] for i in ids)
        assert spelt == text.encode("utf-8", errors="replace")


def test_tensor_scores_agree_with_array_scores() -> None:
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 4, (150, 33)).astype(np.float32)
    logits[1, 4:9] = logits[1].max() + 1  # ties
    logits[2, ::2] = -np.inf
    logits[3] = 0
    ours, theirs = TensorScores(torch.from_numpy(logits)), ArrayScores(logits)
    assert len(ours) == 150
    for i in range(150):
        assert ours.argmax(i) == theirs.argmax(i)
        assert ours.entropy(i) == pytest.approx(theirs.entropy(i), abs=1e-5)
        assert ours.margin(i) == pytest.approx(theirs.margin(i), abs=1e-6)
        assert ours.probability(i, 5) == pytest.approx(theirs.probability(i, 5), abs=1e-6)
        assert (ours.row(i) == logits[i]).all()
    assert [token for token, _ in ours.top(1, 3)] == [4, 5, 6]
    assert [token for token, _ in ours.top(3, 4)] == [0, 1, 2, 3]
    order = np.argsort(-logits[0], kind="stable")[:7]
    assert [token for token, _ in ours.top(0, 7)] == order.tolist()
    assert ours.top(0, 0) == []
    assert len(ours.top(2, 99)) == 33
    assert TensorScores(torch.zeros(1, 1)).margin(0) == 1.0
    with pytest.raises(ValueError, match="shape"):
        TensorScores(torch.zeros(3))


def test_growing_layer_keeps_what_concatenation_keeps() -> None:
    layer, rng = torch_cache.GrowingLayer(limit=2000), random.Random(1)
    expected = torch.zeros(1, 2, 0, 4)
    with torch.inference_mode():
        for step in range(40):
            states = torch.randn(1, 2, rng.randrange(1, 40), 4)
            keys, values = layer.update(states, -states)
            expected = torch.cat([expected, states], dim=2)
            assert torch.equal(keys, expected) and torch.equal(values, -expected)
            start = expected.shape[2] - states.shape[2]
            if step % 3 == 1:
                picked = sorted(rng.sample(range(states.shape[2]), states.shape[2] // 2))
                layer.gather(start, picked)
                kept = [*range(start), *(start + i for i in picked)]
                expected = expected[:, :, kept]
            elif step % 3 == 2:
                layer.cut(start)
                expected = expected[:, :, :start]
            assert layer.get_seq_length() == expected.shape[2]
            assert layer.get_mask_sizes(3) == (expected.shape[2] + 3, 0)


class Busy:
    """A clock for forwards: beside another program, two threads take twenty times as long."""

    def __init__(self) -> None:
        self.ms = 0.0
        self.others = 0

    def __call__(self) -> float:
        alone = {1: 10.0, 2: 6.0}[torch.get_num_threads()]
        # a forward asks twice, so each answer adds half
        self.ms += alone * (20 if self.others and alone < 10 else 1) / 2
        return self.ms / 1000


def test_threads_follow_what_forwards_take(fresh: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, before = Busy(), torch.get_num_threads()
    monkeypatch.setattr(torch_engine, "perf_counter", clock)
    engine = fresh()
    engine.adapt_threads(2, others=lambda: clock.others)
    try:
        seen = []
        for number in range(300):
            clock.others = int(60 <= number < 120)
            engine.forward([number % 7])
            seen.append(torch.get_num_threads())
        assert seen[59] == 2 and seen[66] == 1 and seen[119] == 1 and seen[-1] == 2
        assert engine.threads == 2
        assert [change.after for change in engine.thread_changes] == [1, 2]
        assert engine.thread_changes[0].reason == "machine in use"
    finally:
        torch.set_num_threads(before)


def test_threads_that_were_asked_for_stay(tiny: Path) -> None:
    before = torch.get_num_threads()
    engine = TorchEngine.open(read_folder_header(tiny), OpenOptions(threads=1, context=64))
    try:
        engine.forward([1])
        assert (engine.threads, engine._threads, torch.get_num_threads()) == (1, None, 1)
    finally:
        engine.close()
        torch.set_num_threads(before)


@pytest.mark.parametrize("stored", ["bfloat16", "float32", "float16"])
@pytest.mark.parametrize("asked", [None, "float32"])
def test_only_a_checkpoint_in_bfloat16_may_run_in_it_unasked(
    tiny: Path,
    tmp_path: Path,
    stored: str,
    asked: Literal["float32"] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny, folder)
    weights = load_file(folder / "model.safetensors")
    dtype = getattr(torch, stored)
    save_file({name: w.to(dtype) for name, w in weights.items()}, folder / "model.safetensors")
    monkeypatch.setattr(torch_engine, "MEASURED_FROM", 1)

    def faster(info, feed, formats, most, backend) -> FormatTimes:
        forward = feed()
        for name in formats:
            forward(name, 1, 16)
        return FormatTimes({name: {1: (1.0, 1.0)} for name in formats}, formats[-1], False)

    monkeypatch.setattr(torch_engine, "format_times", faster)
    engine = TorchEngine.open(read_folder_header(folder), OpenOptions(context=64, dtype=asked))
    assert engine.dtype == ("bfloat16" if stored == "bfloat16" and not asked else "float32")
    assert str(engine.module.dtype) == f"torch.{engine.dtype}"
    assert np.isfinite(engine.forward([1, 2]).row(0)).all()
    engine.close()


def test_a_probe_has_the_first_layers_matrices_and_no_more_than_its_share() -> None:
    shapes = {
        "model.embed_tokens.weight": (50000, 576), "model.layers.10.mlp.up.weight": (9, 9),
        "model.layers.2.mlp.up.weight": (4096, 4096), "model.layers.0.norm.weight": (576,),
        "model.layers.0.q.weight": (576, 576), "model.layers.1.wide.weight": (2, 1 << 20),
        "model.layers.1.experts.weight": (8, 5, 5), "model.layers.3.up.weight": (4096, 4096),
    }  # fmt: skip
    found = layer_shapes({name: TensorEntry("BF16", shape) for name, shape in shapes.items()})
    assert found == [(576, 576), (4096, 4096), (705, 4096), (9, 9)]
    assert sum(rows * columns for rows, columns in found) <= WORTH
    assert layer_shapes({"model.layers.0.norm.weight": TensorEntry("BF16", (576,))}) == []


def test_times_of_another_format_are_not_taken_for_this_one(tiny: Path) -> None:
    header = read_folder_header(tiny)
    fine, coarse = (TorchEngine.open(header, OpenOptions(dtype=d)) for d in ("float32", "bfloat16"))
    curve = CostCurve({1: 1.0, 2: 2.0})
    keep_curve(fine, curve)
    assert kept_curve(coarse) is None
    assert kept_curve(fine).points == curve.points
    fine.close()
    coarse.close()


def test_threads_that_shall_not_change_do_not(tiny: Path) -> None:
    options = OpenOptions(adapts=False, context=64)
    engine = TorchEngine.open(read_folder_header(tiny), options)
    assert (engine._threads, engine.threads) == (None, torch_engine.DEFAULT_THREADS)
    engine.close()
