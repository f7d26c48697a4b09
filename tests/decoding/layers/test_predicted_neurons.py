"""Gates choose feed-forward neurons, only those are computed, and the gates can be learned."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as drawn_arrays

from adec.decoding.layers.drafting.self_draft import PLAIN_TOKENS
from adec.decoding.layers.predicted_neurons import (
    NeuronSettings,
    PredictedNeurons,
    build,
    gates_of,
    logit_of,
)
from adec.decoding.plain import Plain
from adec.decoding.strategy import Aids, Limits
from adec.engines.neuron_gates import NeuronGates
from adec.engines.pair import Engines
from adec.errors import EngineError, ModelFileError
from adec.events.codec import _read, encode_line
from adec.events.tally import Tally
from adec.parts.part import Part
from adec.sampling import Sampler
from tests.engines.torch.test_layer_engine import deep, opened
from tests.laws import prompt_of

torch = pytest.importorskip("torch")

__all__ = ["deep"]

LAYERS, WIDTH, NEURONS = 4, 64, 128
PROMPT = [5, 6, 7, 8]


@pytest.fixture
def fresh(deep: Path) -> Iterator[Any]:
    yield from opened(deep)


def part_of(seed: int = 0, threshold: float = 0.5, rank: int = 3) -> Part:
    rng = np.random.default_rng(seed)
    shapes = {
        "inner": (LAYERS, rank, WIDTH), "outer": (LAYERS, NEURONS, rank), "bias": (LAYERS, NEURONS),
    }  # fmt: skip
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return Part("neurons", "0" * 16, arrays, {"threshold": threshold})


def tokens_of(steps: Any) -> list[int]:
    return [token.id for step in steps for token in step.tokens]


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.6, 0.9, 1.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_gathered_rows_are_what_masked_whole_layers_give(
    fresh: Any, seed: int, threshold: float
) -> None:
    """Token by token with gathered rows, or all at once, computed in full and masked."""
    from adec.engines.torch.torch_fit.neuron_fit import masked

    engine = fresh()
    part = part_of(seed)
    ids = [int(token) for token in np.random.default_rng(seed).integers(4, 200, 12)]
    first, gates = 5, gates_of(part, engine, threshold, None)
    engine.forward(ids[:first], rows=0)
    engine.gate_neurons(gates)
    likeliest = [engine.forward([token]).argmax(0) for token in ids[first:]]
    # each in turn as the last token of an answer whose earlier ones are given
    for number, token in enumerate(likeliest):
        given = [*ids[: first + number + 1], token]
        stays, total, share = masked(
            engine.module, (given, first), dict(part.tensors), logit_of(threshold)
        )
        before = zip(ids[first + 1 : first + number + 1], likeliest, strict=False)
        assert (stays, total) == (sum(a == b for a, b in before) + 1, number + 1)
    computed = engine.neurons_computed / (LAYERS * NEURONS * len(ids[first:]))
    assert (computed == 1) == (threshold == 0) and (computed == 0) == (threshold == 1)
    # the last answer has one position more, whose token was made up
    assert share == pytest.approx(computed, abs=0.15)


def test_with_all_neurons_the_tokens_are_plains_and_the_engine_is_left_as_it_was(
    fresh: Any,
) -> None:
    engine = fresh()
    limits = Limits(14, sampler=Sampler(0.7, seed=3))
    plain = tokens_of(Plain(engine).generate(prompt_of(PROMPT), limits))
    every = PredictedNeurons(engine, lambda: part_of(), 0.0)
    for _ in range(2):
        assert tokens_of(every.generate(prompt_of(PROMPT), limits)) == plain
    few = list(PredictedNeurons(engine, lambda: part_of(), 0.8).generate(prompt_of(PROMPT), limits))
    assert tokens_of(few) != plain
    assert engine.length <= len(PROMPT) + PLAIN_TOKENS
    assert tokens_of(Plain(engine).generate(prompt_of(PROMPT), limits)) == plain


def test_the_summary_and_the_trace_say_how_many_neurons_ran(fresh: Any) -> None:
    engine = fresh()
    strategy = build(Engines(large=engine), NeuronSettings(), Aids(part=lambda kind: part_of()))
    steps = list(strategy.generate(prompt_of(PROMPT), Limits(10)))
    tally = Tally("neurons", "approximate", layers=LAYERS)
    for step in steps:
        tally.add(step, 0.0)
        assert _read(encode_line(step).encode()) == step
    summary = tally.summary(1.0)
    # the first token comes with the prompt, two more use all neurons
    assert summary["neurons_of"] == 7 * LAYERS * NEURONS
    assert 0 < summary["neurons_computed"] < summary["neurons_of"]
    assert summary["tokens_by_source"] == {"large": 3, "neurons": 7}
    plain = Tally("plain", "exact").summary(1.0)
    assert plain["neurons_of"] is None and plain["neurons_computed"] is None


def test_the_control_draws_as_many_neurons_by_lot(fresh: Any) -> None:
    engine = fresh()
    chosen: dict[Any, list[list[int]]] = {}
    for lot in (None, 1, 2):
        engine.gate_neurons(gates_of(part_of(), engine, 0.5, lot))
        gathered = engine._runner.gathered
        state = torch.randn(WIDTH, generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            chosen[lot] = [gathered.choose(layer, state, 9).tolist() for layer in range(LAYERS)]
            assert chosen[lot] == [gathered.choose(layer, state, 9).tolist() for layer in range(4)]
    assert list(map(len, chosen[1])) == list(map(len, chosen[None]))
    assert len({str(one) for one in chosen.values()}) == 3
    assert all(one == sorted(set(one)) for one in chosen[1])


def test_gates_that_do_not_fit_are_refused(fresh: Any) -> None:
    engine, part = fresh(), part_of()
    for name, array in (
        ("inner", np.ones((LAYERS + 1, 3, WIDTH))),
        ("outer", np.ones((LAYERS, NEURONS, 2))),
        ("bias", np.ones((LAYERS, NEURONS - 1))),
    ):
        arrays = {**part.tensors, name: array.astype(np.float32)}
        with pytest.raises(ModelFileError):
            gates_of(Part("neurons", part.model, arrays, part.facts), engine, 0.5, None)
    narrow = [np.ones((LAYERS, 3, WIDTH - 1)), part.tensors["outer"], part.tensors["bias"]]
    with pytest.raises(EngineError, match="other feed-forward layers"):
        engine.gate_neurons(NeuronGates(*narrow, threshold=0.0))


# ---- learning


@given(
    drawn_arrays(np.float32, (3, 9), elements=st.floats(0, 10, width=32)),
    st.floats(0.05, 1.0),
)
def test_the_target_is_the_smallest_set_that_holds_the_mass(heat: np.ndarray, mass: float) -> None:
    from adec.engines.torch.torch_fit.neuron_fit import needed

    for row, inside in zip(heat, needed(torch.from_numpy(heat), mass).numpy(), strict=True):
        total = row.sum()
        held = row[inside].sum()
        assert held >= mass * total * (1 - 1e-5)
        if inside.any():
            least = row[inside].min()
            assert held - least <= mass * total * (1 + 1e-5)
            assert (row[~inside] <= least).all()


def test_gates_learn_which_neurons_hold_the_heat(fresh: Any) -> None:
    from adec.engines.torch.layers.gathered_neurons import heats
    from adec.engines.torch.torch_fit import neuron_fit

    engine = fresh()
    rng = np.random.default_rng(4)
    # inputs of two kinds, so that the same neurons are needed again and again
    kinds = rng.normal(size=(LAYERS, 2, WIDTH))
    which = rng.integers(0, 2, 160)
    inputs = (kinds[:, which] + 0.1 * rng.normal(size=(LAYERS, 160, WIDTH))).astype(np.float32)
    neuron_fit.STEPS, kept = 60, neuron_fit.STEPS
    try:
        arrays, loss = neuron_fit.fit_gates(engine.module, inputs[:, :120], seconds=120)
    finally:
        neuron_fit.STEPS = kept
    assert loss < 0.4
    held_by_gates, held_by_lot = [], []
    for layer in range(LAYERS):
        x = torch.from_numpy(inputs[layer, 120:])
        _, heat = heats(engine.module.base_model.layers[layer].mlp, x)
        logits = x.numpy() @ arrays["inner"][layer].T @ arrays["outer"][layer].T
        chosen = logits + arrays["bias"][layer] >= 0
        share = chosen.mean()
        held = (heat.numpy() * chosen).sum(1) / heat.numpy().sum(1)
        held_by_gates.append(held.mean())
        held_by_lot.append(share)  # neurons by lot hold their share, on average
        assert share < 0.75
    assert np.mean(held_by_gates) > 0.8 and np.mean(held_by_gates) > np.mean(held_by_lot) + 0.2
