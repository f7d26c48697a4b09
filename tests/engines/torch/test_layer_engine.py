"""The torch engine runs layers one by one, and keeps both contracts."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adec.engines.base import OpenOptions
from adec.engines.neuron_gates import NeuronGates
from adec.engines.torch.folder_header import read_folder_header
from adec.errors import EngineError
from adec.tree import ROOT, TokenTree
from tests.engines.contract import EngineContract, assert_rows_equal, log_probabilities
from tests.engines.layer_contract import LayerContract
from tests.engines.torch.test_torch import Open
from tests.engines.torch.tiny_folder import write_tiny_folder

torch = pytest.importorskip("torch")

from adec.engines.torch.layers.layer_engine import TorchLayerEngine  # noqa: E402

LAYERS = 4


@pytest.fixture(scope="session")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_folder(tmp_path_factory.mktemp("models") / "deep", layers=LAYERS)


def opened(folder: Path) -> Iterator[Any]:
    header = read_folder_header(folder)
    engines: list[TorchLayerEngine] = []

    def fresh() -> TorchLayerEngine:
        engines.append(TorchLayerEngine.open(header, OpenOptions(context=512, threads=1)))
        return engines[-1]

    fresh()  # holds the weights, so that every other engine opens at once
    yield fresh
    for engine in engines:
        engine.close()


@pytest.fixture
def fresh(deep: Path) -> Iterator[Any]:
    yield from opened(deep)


class TestEngineContract(EngineContract):
    examples = 8
    steps = 8

    @pytest.fixture
    def fresh(self, deep: Path) -> Iterator[Any]:
        yield from opened(deep)


class TestLayerContract(LayerContract):
    @pytest.fixture
    def fresh(self, deep: Path) -> Iterator[Any]:
        yield from opened(deep)


def test_left_out_layers_make_the_model_without_them(fresh: Open, tmp_path: Path) -> None:
    from transformers import LlamaForCausalLM

    engine = fresh()
    tokens = list(range(20, 40))
    for left_out in ((0,), (1, 2), (3,), (0, 2, 3)):
        model = LlamaForCausalLM(deepcopy(engine.module.config)).eval()
        model.load_state_dict(engine.module.state_dict())
        rest = [layer for i, layer in enumerate(model.model.layers) if i not in left_out]
        for place, layer in enumerate(rest):
            layer.self_attn.layer_idx = place
        model.model.layers = torch.nn.ModuleList(rest)
        model.config.num_hidden_layers = len(rest)
        with torch.inference_mode():
            logits = model(torch.tensor([tokens]), use_cache=False).logits[0]
        expected = logits.log_softmax(-1).double().numpy()
        engine.rewind(0)
        engine.leave_out(left_out)
        rows = [log_probabilities(engine.forward(tokens[:12], rows=12))]
        rows += [log_probabilities(engine.forward([token])) for token in tokens[12:]]
        for place, row in enumerate(rows):
            first = 0 if place == 0 else 11 + place
            assert_rows_equal(row, expected[first : first + len(row)], 1e-4)


@pytest.mark.parametrize(
    ("layers", "attention", "feed_forward"),
    [((), (1, 3), (0,)), ((), (), (0, 1, 2, 3)), ((2,), (0,), (1,)), ((), (0, 2), (2, 3))],
)
def test_left_out_halves_add_nothing(
    fresh: Open, layers: Any, attention: Any, feed_forward: Any
) -> None:
    engine, zero = fresh(), fresh()
    tokens = list(range(20, 32))
    model = deepcopy(engine.module)
    with torch.no_grad():
        for at in (*layers, *attention):
            model.model.layers[at].self_attn.o_proj.weight.zero_()
        for at in (*layers, *feed_forward):
            model.model.layers[at].mlp.down_proj.weight.zero_()
    with torch.inference_mode():
        logits = model(torch.tensor([tokens]), use_cache=False).logits[0]
    expected = logits.log_softmax(-1).double().numpy()
    for one in (engine, zero):
        one.leave_out(layers, attention=attention, feed_forward=feed_forward)
    assert_rows_equal(log_probabilities(engine.forward(tokens[:9], rows=9)), expected[:9], 1e-4)
    for at in (9, 10, 11):
        row = log_probabilities(engine.forward([tokens[at]]))
        assert_rows_equal(row, expected[at : at + 1], 1e-4)
    # keys and values that nobody wrote are filled in when attention is back
    gone = {*layers, *attention}
    assert [engine.layer_length(at) for at in range(LAYERS)] == [
        0 if at in gone else 12 for at in range(LAYERS)
    ]
    zero.forward(tokens, rows=0)
    rows = []
    for one in (engine, zero):
        one.leave_out(())
        rows.append(log_probabilities(one.forward([1, 2], rows=2)))
        assert {one.layer_length(at) for at in range(LAYERS)} == {14}
    assert_rows_equal(*rows, 1e-4)
    for wrong in (
        lambda: engine.leave_out((), attention=[LAYERS]),
        lambda: engine.leave_out((), feed_forward=[-1]),
        lambda: engine.leave_out([0], attention=range(1, LAYERS), feed_forward=range(1, LAYERS)),
    ):
        with pytest.raises(EngineError):
            wrong()


def test_a_forward_that_fails_half_way_up_is_undone(
    fresh: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, whole = fresh(), fresh()
    engine.forward([1, 2, 3], rows=0)
    engine.lower([4, 5], 1)
    top = engine._layers[2]
    with monkeypatch.context() as broken:
        broken.setattr(top.mlp, "forward", lambda states: 1 / 0)
        for call in (lambda: engine.finish(rows=2), lambda: engine.lower([6], 3)):
            with pytest.raises(EngineError, match="failed"):
                call()
            assert engine.length == 5
    rows = log_probabilities(engine.finish(rows=2))
    assert_rows_equal(rows, log_probabilities(whole.forward([1, 2, 3, 4, 5], rows=2)), 1e-4)


def test_a_tree_needs_all_layers(fresh: Open) -> None:
    engine = fresh()
    engine.forward([1, 2], rows=0)
    engine.leave_out([1])
    with pytest.raises(EngineError, match="left out"):
        engine.forward_tree(TokenTree([1, 2], [ROOT, ROOT]))
    engine.leave_out(())
    assert len(engine.forward_tree(TokenTree([1, 2], [ROOT, ROOT]))) == 2


@pytest.mark.parametrize("kind", ["Qwen2", "Qwen3", "Mistral", "Phi3", "SmolLM3"])
def test_other_architectures_run_layer_by_layer(kind: str, deep: Path, tmp_path: Path) -> None:
    import shutil

    import transformers

    folder = tmp_path / kind
    shutil.copytree(deep, folder)
    config = read_folder_header(deep).info
    made = getattr(transformers, f"{kind}Config")(
        vocab_size=config.vocabulary,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        sliding_window=None,
        initializer_range=0.2,
        pad_token_id=None,
        bos_token_id=None,
        eos_token_id=3,
    )
    torch.manual_seed(1)
    getattr(transformers, f"{kind}ForCausalLM")(made).save_pretrained(folder)
    header = read_folder_header(folder)
    assert "layers" in header.capabilities, header.missing
    engine = TorchLayerEngine.open(header, OpenOptions(context=64, threads=1))
    tokens = [5, 9, 200, 31, 7, 7, 12]
    expected = log_probabilities(engine.forward(tokens, rows=7))
    engine.rewind(2)
    engine.lower(tokens[2:4], 1)
    engine.lower(tokens[4:], 2)
    assert_rows_equal(log_probabilities(engine.finish(rows=5)), expected[2:], 1e-4)
    # gathered rows of all feed-forward neurons are the whole layers
    rng = np.random.default_rng(1)
    shapes = (3, 2, 64), (3, engine.neurons, 2), (3, engine.neurons)
    arrays = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    engine.rewind(6)
    engine.gate_neurons(NeuronGates(*arrays, threshold=-np.inf))
    assert_rows_equal(log_probabilities(engine.forward(tokens[6:])), expected[6:], 1e-4)
    assert engine.neurons_computed == 3 * engine.neurons == 3 * 96
    engine.close()
