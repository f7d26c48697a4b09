"""Routers choose an answer's layers from its prompt, and are learned with a gradient."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adec.calibration.fit.fit_first import choose_threshold
from adec.decoding.layers.exit_classifiers import normed
from adec.decoding.layers.prompt_routers import (
    FirstSettings,
    PromptMeans,
    PromptRouters,
    Routers,
    build,
)
from adec.decoding.plain import Plain
from adec.decoding.strategy import Aids, Limits
from adec.engines.pair import Engines
from adec.errors import ModelFileError
from adec.parts.part import Part
from adec.sampling import Sampler
from tests.decoding.layers.layered import LAYERS, LayeredTable
from tests.engines.torch.test_layer_engine import deep, opened
from tests.laws import prompt_of

__all__ = ["deep"]

WIDTH = 6
DEEP = 4


def part_of(bias: list[float], width: int = WIDTH, weight: np.ndarray | None = None) -> Part:
    """Routers that look at nothing, unless they have weights."""
    zeros = np.zeros((len(bias), width), dtype=np.float32)
    arrays = {
        "weight": zeros if weight is None else weight.astype(np.float32),
        "bias": np.array(bias, dtype=np.float32),
        "usual": np.array(bias, dtype=np.float32),
    }
    return Part("first", "0" * 16, arrays, {"threshold": 0.5})


def tokens_of(steps: Any) -> list[int]:
    return [token.id for step in steps for token in step.tokens]


@pytest.fixture
def fresh(deep: Path) -> Iterator[Any]:
    yield from opened(deep)


@given(seed=st.integers(0, 99), context=st.integers(5, 60), temp=st.sampled_from([0.0, 0.8]))
def test_where_every_layer_is_needed_the_tokens_are_plains(
    seed: int, context: int, temp: float
) -> None:
    limits = Limits(20, frozenset({5}), Sampler(temp, seed=seed), chunk=2)
    plain = Plain(LayeredTable(seed, context=context)).generate(prompt_of([0, 1, 2]), limits)
    expected = tokens_of(plain)
    strategy = PromptRouters(LayeredTable(seed, context=context), lambda: part_of([3.0] * LAYERS))
    for _ in range(2):
        assert tokens_of(strategy.generate(prompt_of([0, 1, 2]), limits)) == expected


def test_the_answer_is_that_of_the_layers_that_the_routers_keep(fresh: Any) -> None:
    engine, by_hand = fresh(), fresh()
    prompt = [5, 6, 7, 8, 9]
    rng = np.random.default_rng(1)
    weight = rng.normal(size=(DEEP, 64))
    part = part_of([0.0] * DEEP, 64, weight)
    strategy = build(Engines(large=engine), FirstSettings(), Aids(part=lambda kind: part))
    steps = list(strategy.generate(prompt_of(prompt), Limits(12, chunk=2)))
    # the same by hand: what each layer read, averaged over the prompt
    by_hand.lower(prompt, DEEP)
    means = np.stack([by_hand.states_at(layer, rows=5).mean(0) for layer in range(DEEP)])
    logits = (weight * normed(means.astype(np.float32))).sum(1)
    kept = [layer for layer in range(DEEP) if logits[layer] >= 0]
    assert 0 < len(kept) < DEEP
    scores, expected = by_hand.scores_at(DEEP), []
    while len(expected) < 12:
        expected.append(scores.argmax(0))
        if len(expected) == 3:
            by_hand.leave_out(set(range(DEEP)) - set(kept))
        scores = by_hand.forward(expected[-1:])
    assert tokens_of(steps) == expected
    ran = [f.layers for step in steps for f in step.forwards if f.purpose == "write"]
    assert ran == [None] * 2 + [len(kept)] * 9
    # nothing approximate is kept for the next turn of a conversation
    assert engine.length <= len(prompt) + 2


@pytest.mark.parametrize("control", ["same", "random"])
def test_a_control_leaves_out_as_many_without_a_look(control: Any) -> None:
    class Watched(LayeredTable):
        def __init__(self, seed: int) -> None:
            super().__init__(seed)
            self.left: list[frozenset[int]] = []

        def leave_out(self, layers: Any) -> None:
            super().leave_out(layers)
            if layers:
                self.left.append(frozenset(layers))

    part = part_of([-1.0, 2.0, -2.0, 1.0, 3.0, -3.0])
    seen = []
    for seed in range(6):
        engine = Watched(1)
        strategy = PromptRouters(engine, lambda: part, None, control)
        list(strategy.generate(prompt_of([0, 1]), Limits(8, sampler=Sampler(seed=seed))))
        seen.append(engine.left[0])
    assert {len(one) for one in seen} == {3}
    # by lot it is another choice with another seed; "same" keeps what is kept most often
    assert (len(set(seen)) > 1) == (control == "random")
    if control == "same":
        assert seen[0] == {0, 2, 5}


def test_one_layer_runs_even_if_no_router_wants_it() -> None:
    strategy = PromptRouters(LayeredTable(1), lambda: part_of([-9.0, -8.0, -9.0, -9.0, -9.0, -9.0]))
    steps = list(strategy.generate(prompt_of([0, 1]), Limits(8)))
    assert strategy.choose([0, 1], Limits(8)) == [1]
    assert len(tokens_of(steps)) == 8


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("weight", np.ones((LAYERS + 1, WIDTH))),
        ("bias", np.ones(LAYERS - 1)),
        ("usual", np.ones((LAYERS, 1))),
    ],
)
def test_routers_that_do_not_fit_are_refused(name: str, array: np.ndarray) -> None:
    part = part_of([0.0] * LAYERS)
    arrays = {**part.tensors, name: array.astype(np.float32)}
    with pytest.raises(ModelFileError):
        Routers(Part("first", part.model, arrays, part.facts), LAYERS)
    narrow = PromptRouters(LayeredTable(0), lambda: part_of([0.0] * LAYERS, WIDTH - 1))
    with pytest.raises(ModelFileError, match="wide"):
        list(narrow.generate(prompt_of([0, 1]), Limits(8)))


def test_the_highest_threshold_that_keeps_the_tokens_is_chosen() -> None:
    # two answers of ten tokens; the second layer is worth two of them, the third nothing
    keep = [np.array([0.9, 0.5, 0.1]), np.array([0.8, 0.4, 0.2])]

    def judge(answer: int, kept: tuple[bool, ...]) -> tuple[int, int]:
        return (10 if kept[1] else 8), 10

    assert choose_threshold(keep, 1.0, judge) == (pytest.approx(0.4), 1.0)
    assert choose_threshold(keep, 0.9, judge) == (pytest.approx(0.5), pytest.approx(0.9))
    assert choose_threshold(keep, 0.8, judge) == (pytest.approx(0.9), pytest.approx(0.8))
    assert choose_threshold(keep, 1.0, lambda answer, kept: (9, 10)) == (0.0, 1.0)


# ---- learning


def test_gated_rows_are_those_of_an_engine_without_the_layers(fresh: Any) -> None:
    torch = pytest.importorskip("torch")
    from adec.engines.torch.torch_fit.router_fit import gated_rows

    engine = fresh()
    rng = np.random.default_rng(3)
    ids = [int(token) for token in rng.integers(4, 200, 14)]
    for first in (1, 6, 12):
        for kept in ((1, 1, 1, 1), (1, 0, 1, 1), (0, 1, 0, 0), (0, 0, 0, 1)):
            with torch.inference_mode():
                rows = gated_rows(engine.module, (ids, first), torch.tensor(kept).float()).numpy()
            engine.rewind(0)
            engine.forward(ids[:first], rows=0)
            engine.leave_out([layer for layer in range(DEEP) if not kept[layer]])
            expected = engine.forward(ids[first:], rows=len(ids) - first)
            engine.leave_out(())
            for row in range(len(rows)):
                np.testing.assert_allclose(rows[row], expected.row(row), rtol=1e-3, atol=1e-3)


def test_gates_are_zero_or_one_and_have_the_gradient_of_their_probability() -> None:
    torch = pytest.importorskip("torch")
    from adec.engines.torch.torch_fit.router_fit import straight_through

    logits = torch.tensor([-1.0, 0.5, 3.0], requires_grad=True)
    gates = straight_through(logits, torch.zeros(3))
    assert gates.tolist() == [0.0, 1.0, 1.0]
    (gates * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    p = logits.detach().sigmoid()
    torch.testing.assert_close(logits.grad, p * (1 - p) * torch.tensor([1.0, 2.0, 3.0]))


def test_the_task_reaches_the_routers_where_the_printed_forward_leaves_them_without(
    fresh: Any,
) -> None:
    torch = pytest.importorskip("torch")
    from adec.engines.torch.torch_fit.router_fit import gated_loss, straight_through

    engine = fresh()
    logits = torch.full((DEEP,), 0.5, requires_grad=True)
    gates = straight_through(logits, torch.zeros(DEEP))
    gated_loss(engine.module, (list(range(20, 32)), 4), gates).backward()
    assert (logits.grad.abs() > 1e-4).all()
    # p f(h) + (1 - p) f(h), as printed: p cancels
    p = logits.sigmoid()
    (printed,) = torch.autograd.grad((p * 3.0 + (1 - p) * 3.0).sum(), logits)
    assert printed.abs().max() == 0


def test_what_routers_learn_depends_on_the_prompt(fresh: Any) -> None:
    """Answers to one kind of prompt need a layer that answers to another kind are better without:
    each kind's answers are what the model writes with its own set of layers."""
    torch = pytest.importorskip("torch")
    from adec.engines.torch.torch_fit import router_fit

    engine = fresh()
    kinds: list[tuple[int, list[int]]] = [(30, [1]), (60, [2])]
    answers, inputs, labels = [], [], []
    rng = np.random.default_rng(5)
    for number in range(16):
        start, left_out = kinds[number % 2]
        prompt = [start, *(start + 1 + int(n) for n in rng.integers(0, 9, 5))]
        engine.rewind(0)
        engine.lower(prompt, DEEP)
        means = PromptMeans(DEEP)
        means.add(engine, len(prompt))
        inputs.append(normed(means.means))
        scores = engine.scores_at(DEEP)
        engine.leave_out(left_out)
        written = []
        for _ in range(10):
            written.append(scores.argmax(0))
            scores = engine.forward(written[-1:])
        engine.leave_out(())
        answers.append(([*prompt, *written], len(prompt)))
        labels.append(number % 2)
    before = {name: value.clone() for name, value in engine.module.state_dict().items()}
    router_fit.STEPS, kept = 40, router_fit.STEPS
    try:
        arrays, _ = router_fit.fit_routers(
            engine.module, np.stack(inputs[:12]), answers[:12], seconds=120, seed=1
        )
    finally:
        router_fit.STEPS = kept
    part = Part("first", "0" * 16, {**arrays, "usual": arrays["bias"]}, {})
    routers = Routers(part, DEEP)
    assert np.abs(arrays["weight"]).max() > 0.01
    # on prompts that nothing was learned from
    for one, kind in zip(inputs[12:], labels[12:], strict=True):
        kept_layers = [layer for layer in range(DEEP) if routers.keep(one)[layer] >= 0.5]
        assert kept_layers == [layer for layer in range(DEEP) if layer not in kinds[kind][1]]
    for name, value in engine.module.state_dict().items():
        assert torch.equal(value, before[name]), name
