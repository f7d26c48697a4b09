"""The torch engine foresees in the forward that reads, and leaves the sequence alone."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adec.engines.base import OpenOptions
from adec.engines.protocols import PseudoStates
from adec.engines.torch.folder_header import read_folder_header
from adec.errors import EngineError
from adec.tree import ROOT, TokenTree
from tests.engines.contract import log_probabilities
from tests.engines.torch.tiny_folder import write_tiny_folder

torch = pytest.importorskip("torch")

from adec.engines.torch.pseudo.pseudo_engine import TorchPseudoEngine  # noqa: E402

LAYERS, WIDTH = 4, 64
CLOSE = {"rtol": 2e-4, "atol": 2e-4}


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_folder(tmp_path_factory.mktemp("models") / "stack", layers=LAYERS)


@pytest.fixture
def engine(stack: Path) -> Iterator[TorchPseudoEngine]:
    header = read_folder_header(stack)
    opened = TorchPseudoEngine.open(header, OpenOptions(context=256, threads=1))
    yield opened
    opened.close()


def states_after(engine: TorchPseudoEngine, tokens: list[int], depth: int) -> np.ndarray:
    """What layer `depth` reads of the last of `tokens`."""
    engine.rewind(0)
    engine.lower(tokens, max(1, depth))
    return engine.states_at(depth)[0]


def rows_of(engine: TorchPseudoEngine, tokens: list[int], count: int) -> np.ndarray:
    engine.rewind(0)
    return log_probabilities(engine.forward(tokens, rows=count))


def random_states(seed: int, depths: tuple[int, ...] = (1, 3)) -> PseudoStates:
    rng = np.random.default_rng(seed)
    shape = (len(depths), WIDTH)
    return PseudoStates(
        depths,
        rng.normal(0, 0.3, shape).astype(np.float32),
        rng.normal(0, 0.3, (*shape, WIDTH)).astype(np.float32),
    )


TREE = TokenTree([5, 6, 7, 8, 9], [ROOT, 0, 0, 1, 2], [None] * 5)
TRUNK = [11, 12, 13, 14]


@pytest.mark.parametrize("depths", [(0, 0), (1, 1), (0, 2), (1, 3)])
def test_the_state_of_a_token_foresees_what_the_token_would(
    engine: TorchPseudoEngine, depths: tuple[int, int]
) -> None:
    # pseudo positions behind node 3 are given the true states of two tokens there
    ahead, path = [21, 22], [*TRUNK, 5, 6, 8]
    shifts = np.stack([states_after(engine, [*path, *ahead[: i + 1]], depths[i]) for i in range(2)])
    wanted = rows_of(engine, [*path, *ahead], 2)
    engine.use_pseudo(PseudoStates(depths, shifts))
    engine.rewind(0)
    engine.forward(TRUNK, rows=0)
    _, foreseen = engine.forward_ahead(TREE, [1, 3, 4])
    np.testing.assert_allclose(log_probabilities(foreseen)[2:4], wanted, **CLOSE)


def test_a_map_takes_the_state_of_its_carrier(engine: TorchPseudoEngine) -> None:
    # at depth 0 the identity repeats the carrier's token
    identity = np.eye(WIDTH, dtype=np.float32)[None]
    engine.use_pseudo(PseudoStates((0,), np.zeros((1, WIDTH), np.float32), identity))
    engine.rewind(0)
    engine.forward(TRUNK, rows=0)
    _, foreseen = engine.forward_ahead(TREE, [2, 4])
    rows = log_probabilities(foreseen)
    for row, path in zip(rows, ([5, 7], [5, 7, 9]), strict=True):
        wanted = rows_of(engine, [*TRUNK, *path, path[-1]], 1)
        np.testing.assert_allclose(row[None], wanted, **CLOSE)


def test_nodes_see_nothing_of_it_and_nothing_stays(engine: TorchPseudoEngine) -> None:
    rng = np.random.default_rng(0)
    adapters = {
        "1.self_attn.k_proj": (rng.normal(size=(2, WIDTH)), rng.normal(size=(WIDTH // 2, 2))),
        "2.mlp.up_proj": (rng.normal(size=(3, WIDTH)), rng.normal(size=(2 * WIDTH, 3))),
    }
    states = random_states(1)
    engine.use_pseudo(
        PseudoStates(
            states.depths,
            states.shifts,
            states.maps,
            {n: (d.astype(np.float32), u.astype(np.float32)) for n, (d, u) in adapters.items()},
        )
    )
    engine.forward(TRUNK, rows=0)
    plain = log_probabilities(engine.forward_tree(TREE))
    engine.rewind(4)
    rows, ahead = engine.forward_ahead(TREE, range(5), first_row=1)
    assert len(ahead) == 10 and engine.length == 4
    np.testing.assert_allclose(log_probabilities(rows), plain[1:], **CLOSE)
    # a pending tree may grow, as any other
    grown = TokenTree([*TREE.tokens, 10], [*TREE.parents, 3], [None] * 6)
    longer = log_probabilities(engine.forward_tree(grown, first_row=5))
    engine.keep([0, 1, 3])
    kept = log_probabilities(engine.forward([10, 30], rows=2))
    np.testing.assert_allclose(longer, kept[:1], **CLOSE)
    np.testing.assert_allclose(kept, rows_of(engine, [*TRUNK, 5, 6, 8, 10, 30], 2), **CLOSE)


def test_adapters_act_on_pseudo_positions_as_on_a_model_with_other_weights(
    engine: TorchPseudoEngine,
) -> None:
    from transformers import LlamaForCausalLM

    rng = np.random.default_rng(2)
    name = f"{LAYERS - 1}.mlp.down_proj"  # behind every key and value
    down = rng.normal(0, 0.2, (3, 2 * WIDTH)).astype(np.float32)
    up = rng.normal(0, 0.2, (WIDTH, 3)).astype(np.float32)
    shift = states_after(engine, [21], 0)[None]
    engine.rewind(0)
    engine.use_pseudo(PseudoStates((0,), shift, adapters={name: (down, up)}))
    _, foreseen = engine.forward_ahead(TokenTree.chain([5, 6]), [1])
    model = LlamaForCausalLM(deepcopy(engine.module.config)).eval()
    model.load_state_dict(engine.module.state_dict())
    with torch.inference_mode():
        model.model.layers[-1].mlp.down_proj.weight += torch.from_numpy(up @ down)
        wanted = model(torch.tensor([[5, 6, 21]])).logits[0, -1].log_softmax(-1).numpy()
    np.testing.assert_allclose(log_probabilities(foreseen)[0], wanted, **CLOSE)


def test_what_does_not_fit_is_refused_and_changes_nothing(engine: TorchPseudoEngine) -> None:
    good = random_states(3)
    engine.forward(TRUNK, rows=0)
    with pytest.raises(EngineError, match="was not told"):
        engine.forward_ahead(TREE, [0])
    zero = np.zeros((2, WIDTH), np.float32)
    adapter = (np.zeros((2, WIDTH), np.float32), np.zeros((WIDTH, 2), np.float32))
    for broken, words in (
        (PseudoStates((2, 1), good.shifts, good.maps), "rise"),
        (PseudoStates((1, LAYERS), good.shifts, good.maps), "rise"),
        (PseudoStates((), good.shifts, good.maps), "0 positions"),
        (PseudoStates((1, 2), good.shifts[:, 1:]), "shifts"),
        (PseudoStates((1, 2), good.shifts, good.maps[:, 1:]), "maps"),
        (PseudoStates((1, 2), zero, adapters={"9.self_attn.q_proj": adapter}), "linear layer"),
        (PseudoStates((1, 2), zero, adapters={"0.input_layernorm": adapter}), "linear layer"),
        (PseudoStates((1, 2), zero, adapters={"0.mlp.up_proj": adapter}), "wrong shape"),
    ):
        with pytest.raises(EngineError, match=words):
            engine.use_pseudo(broken)
    engine.use_pseudo(good)
    for carriers in ([1, 1], [3, 2], [5], [-1]):
        with pytest.raises(EngineError, match="carriers"):
            engine.forward_ahead(TREE, carriers)
    engine.forward_ahead(TREE, [])
    with pytest.raises(EngineError, match="pending"):
        engine.forward_ahead(TREE, [0])
    engine.keep([0])
    assert engine.length == 5


@pytest.mark.parametrize("seed", range(4))
def test_greedy_answers_are_plains_whatever_the_maps_say(
    engine: TorchPseudoEngine, seed: int
) -> None:
    from adec.decoding.heads.hidden_transfer import KIND, TransferSettings, build
    from adec.decoding.heads.pseudo_part import arrays_of
    from adec.decoding.plain import Plain
    from adec.decoding.strategy import Aids, Limits, Prompt
    from adec.engines.pair import Engines
    from adec.parts.part import Part

    part = Part(KIND, "0" * 16, arrays_of(random_states(seed)))
    prompt, limits = Prompt(tuple(range(20 + seed, 30 + seed))), Limits(60)
    settings = TransferSettings(budget=6, top=3, carry=0.0)
    strategy = build(Engines(large=engine), settings, Aids(part=lambda kind: part))
    answers: list[list[Any]] = [
        [token.id for step in one.generate(prompt, limits) for token in step.tokens]
        for one in (strategy, Plain(engine))
    ]
    assert answers[0] == answers[1] and len(answers[0]) == 60
