"""Tokens leave where a rule says so, and what they ran through is counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adec.decoding.layers.early_exit import (
    EarlyExit,
    LeaveRule,
    RandomDepth,
    SameDepth,
    SureEnough,
    Verdict,
    exit_depths,
)
from adec.decoding.layers.exit_classifiers import FORMS, classifiers_of, normed
from adec.decoding.layers.learned_exits import ExitSettings, LearnedExits
from adec.decoding.layers.learned_exits import build as build_exits
from adec.decoding.layers.sorted_depth import NestedModel, SortedSettings
from adec.decoding.layers.sorted_depth import build as build_sorted
from adec.decoding.layers.stop_exit import SecSettings
from adec.decoding.layers.stop_exit import build as build_sec
from adec.decoding.plain import Plain
from adec.decoding.strategy import Aids, Limits
from adec.engines.pair import Engines
from adec.errors import ModelFileError, UsageError
from adec.events.codec import encode_line, to_json
from adec.events.records import DepthRecord, Step
from adec.events.tally import Tally
from adec.parts.part import Part
from adec.sampling import Sampler
from tests.decoding.layers.layered import LAYERS, LayeredTable
from tests.laws import prompt_of

WIDTH = 6
SAMPLERS = st.one_of(
    st.just(Sampler()), st.builds(Sampler, st.floats(0.2, 1.5), seed=st.integers(0, 99))
)


class Stops(LeaveRule):
    """Gives the answer up at a depth after so many tokens."""

    def __init__(self, after: int) -> None:
        self._left = after

    def start(self, engine: Any, limits: Limits) -> None:
        pass

    def stops(self, position: int) -> Sequence[int]:
        return (2,)

    def ask(self, engine: Any, depth: int) -> Verdict:
        self._left -= 1
        return "stop" if self._left < 0 else "climb"


def steps_of(rule: LeaveRule, engine: LayeredTable, limits: Limits) -> list[Step]:
    return list(EarlyExit("x", "y", engine, rule).generate(prompt_of([0, 1, 2]), limits))


def tokens_of(steps: Sequence[Step]) -> list[int]:
    return [token.id for step in steps for token in step.tokens]


@given(
    seed=st.integers(0, 200),
    sampler=SAMPLERS,
    count=st.integers(1, 30),
    context=st.integers(5, 60),
)
def test_where_nothing_leaves_the_tokens_are_plains(
    seed: int, sampler: Sampler, count: int, context: int
) -> None:
    limits = Limits(count, frozenset({5}), sampler)
    plain = Plain(LayeredTable(seed, context=context)).generate(prompt_of([0, 1, 2]), limits)
    expected = tokens_of(list(plain))
    rule = SureEnough(exit_depths(LAYERS, 1, 2), 1.1)
    engine = LayeredTable(seed, context=context)
    for _ in range(2):  # a second answer on the same engine
        steps = steps_of(rule, engine, limits)
        assert tokens_of(steps) == expected
        assert {step.detail.depth for step in steps if step.tokens} <= {LAYERS}
    assert all(f.layers is None for step in steps for f in step.forwards)


@given(seed=st.integers(0, 200), depth=st.integers(1, LAYERS - 1), sampler=SAMPLERS)
def test_a_fixed_exit_writes_what_its_layer_says(seed: int, depth: int, sampler: Sampler) -> None:
    engine = LayeredTable(seed)
    limits = Limits(12, frozenset({5}), sampler)
    steps = steps_of(SameDepth(depth), engine, limits)
    sequence = [0, 1, 2]
    for number, step in enumerate(step for step in steps if step.tokens):
        at = LAYERS if number < 3 else depth  # the first tokens run through all layers
        row = engine._laws[at](tuple(sequence))
        scores = LayeredTable(seed)
        scores._law = lambda prefix, row=row: row
        expected = sampler.pick(scores._scores([tuple(sequence)]), 0, len(sequence))
        (token,) = step.tokens
        assert token.id == expected
        assert token.source == ("large" if at == LAYERS else f"layer:{depth}")
        assert step.detail == DepthRecord(at, LAYERS)
        sequence.append(token.id)
    # nothing approximate is kept for the next turn of a conversation
    assert engine.length <= 3 + 2


def test_an_exit_leaves_where_it_is_sure_and_says_how_sure() -> None:
    engine = LayeredTable(3)
    steps = steps_of(SureEnough([2, 4], 0.5), engine, Limits(30))
    left = [step for step in steps if step.tokens and step.detail.depth < LAYERS]
    assert left and all(step.detail.sure >= 0.5 for step in left)
    assert {step.detail.depth for step in left} <= {2, 4}
    layers = [f.layers for step in steps for f in step.forwards if f.purpose == "write"]
    assert set(layers) <= {None, 2, 4} and len(set(layers)) > 1


def test_the_summary_counts_layers_and_exits() -> None:
    tally = Tally("x", "approximate", layers=LAYERS)
    for step in steps_of(SameDepth(2), LayeredTable(1), Limits(10)):
        tally.add(step, 0.0)
    summary = tally.summary(1.0)
    # the prompt gives the first token; two more run through all layers, seven through two
    assert summary["exits_by_layer"] == {"2": 7, str(LAYERS): 3}
    assert summary["layers_computed"] == 2 * LAYERS + 7 * 2
    assert summary["layers_of"] == 9 * LAYERS
    assert Tally("x", "exact").summary(1.0)["layers_computed"] is None


def test_a_depth_goes_through_the_trace_and_back() -> None:
    from adec.events.codec import _read

    step = steps_of(SureEnough([2, 4], 0.2), LayeredTable(3), Limits(6))[-1]
    assert to_json(step)["depth"]["of"] == LAYERS
    assert _read(encode_line(step).encode()) == step
    broken = encode_line(step).replace('"depth": {"depth": ', '"depth": {"depth": 9')
    with pytest.raises(ValueError, match="layers"):
        _read(broken.encode())


def test_giving_up_ends_the_answer_before_the_token_and_says_so() -> None:
    steps = steps_of(Stops(2), LayeredTable(1), Limits(20))
    assert len(tokens_of(steps)) == 3 + 2
    assert steps[-1].tokens == () and "given up" in steps[-1].reason


@given(st.integers(1, 40).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n))))
def test_random_depths_have_the_mean_that_was_asked_for(sizes: tuple[int, int]) -> None:
    layers, mean = sizes
    rule = RandomDepth(mean, layers)
    rule.start(LayeredTable(0), Limits(1))
    drawn = [(rule.stops(position) or (layers,))[0] for position in range(400)]
    assert all(1 <= depth <= layers for depth in drawn)
    # six standard errors of a mean: a false alarm in 10^8 runs
    reach = min(mean - 1, layers - mean)
    error = (((2 * reach + 1) ** 2 - 1) / 12 / len(drawn)) ** 0.5
    assert abs(np.mean(drawn) - mean) <= 6 * error
    again = [(rule.stops(position) or (layers,))[0] for position in range(400)]
    assert drawn == again


def test_a_nested_model_runs_its_layers_alone_prompt_and_all() -> None:
    engine = LayeredTable(4)
    steps = list(NestedModel(engine, 2).generate(prompt_of([0, 1, 2]), Limits(10)))
    sequence = [0, 1, 2]
    for token in tokens_of(steps):
        assert token == int(np.argmax(engine._laws[2](tuple(sequence))))
        sequence.append(token)
    assert engine.length == 0 and engine._left_out == 0
    assert {f.layers for step in steps for f in step.forwards if f.purpose == "write"} == {2}


def engines_of(engine: LayeredTable) -> Engines:
    return Engines(large=engine)


@pytest.mark.parametrize(
    "settings",
    [
        SortedSettings(depth=LAYERS + 1),
        SortedSettings(first=LAYERS + 1),
    ],
)
def test_depths_that_are_not_there_are_refused(settings: SortedSettings) -> None:
    with pytest.raises(UsageError):
        build_sorted(engines_of(LayeredTable(0)), settings, Aids())


def random_part(
    form: str, seed: int = 0, *, width: int = WIDTH, kind: str = "exits", lost: float = 0.0
) -> Part:
    """Classifiers at depths 2 and 4 with random arrays; of sec, those of two answers; or what
    another kind has.

    `lost` is added to how lost an answer seems.
    """
    if kind == "sec":
        exits, stops = random_part(form, seed, width=width), random_part(form, seed + 1)
        arrays = {f"exit.{name}": array for name, array in exits.tensors.items()}
        arrays |= {f"stop.{name}": array for name, array in stops.tensors.items()}
        arrays |= {"depths": exits.tensors["depths"], "stop.bias": arrays["stop.bias"] + lost}
        facts = {"form": form, "exit_threshold": 0.5, "stop_threshold": 0.5}
        return Part("sec", exits.model, arrays, facts)
    rng = np.random.default_rng(seed)
    if kind in ("first", "neurons"):
        every: dict[str, tuple[int, ...]] = {"bias": (LAYERS,), "usual": (LAYERS,)}
        every["weight"] = (LAYERS, width)
        if kind == "neurons":
            every = {"inner": (LAYERS, 2, width), "outer": (LAYERS, 4, 2), "bias": (LAYERS, 4)}
        arrays = {name: rng.normal(size=one).astype(np.float32) for name, one in every.items()}
        return Part(kind, "0" * 16, arrays, {"threshold": 0.5})
    shapes = {
        "linear": {"weight": (2, width), "bias": (2,)},
        "feedforward": {
            "inner.weight": (2, 5, width), "inner.bias": (2, 5), "weight": (2, 5), "bias": (2,),
        },
        "mamba": {
            "inner.weight": (2, 5, width), "gate.weight": (2, 5, width), "step.weight": (2, 5, 5),
            "step.bias": (2, 5), "decay": (2, 5, 3), "write.weight": (2, 3, 5),
            "read.weight": (2, 3, 5), "weight": (2, 5), "bias": (2,),
        },
    }[form]  # fmt: skip
    arrays = {n: rng.normal(0, 0.4, shape).astype(np.float32) for n, shape in shapes.items()}
    arrays["depths"] = np.array([2, 4], dtype=np.float32)
    return Part("exits", "0" * 16, arrays, {"form": form, "threshold": 0.5})


@pytest.mark.parametrize("form", FORMS)
def test_classifiers_decide_where_tokens_leave(form: str) -> None:
    aids = Aids(part=lambda kind: random_part(form))
    engine = LayeredTable(2)
    strategy = build_exits(engines_of(engine), ExitSettings(), aids)
    first = list(strategy.generate(prompt_of([0, 1, 2]), Limits(20)))
    depths = [step.detail.depth for step in first if step.tokens]
    assert set(depths) <= {2, 4, LAYERS}
    # what the classifiers kept of one answer is forgotten before the next
    again = list(strategy.generate(prompt_of([0, 1, 2]), Limits(20)))
    assert [step.detail for step in again] == [step.detail for step in first]
    never = build_exits(engines_of(LayeredTable(2)), ExitSettings(threshold=1.0), aids)
    plain = list(Plain(LayeredTable(2)).generate(prompt_of([0, 1, 2]), Limits(20)))
    assert tokens_of(list(never.generate(prompt_of([0, 1, 2]), Limits(20)))) == tokens_of(plain)


@pytest.mark.parametrize("form", FORMS)
def test_what_is_learned_is_what_decides(form: Any) -> None:
    torch = pytest.importorskip("torch")
    from adec.engines.torch.torch_fit import exit_fit

    rng = np.random.default_rng(1)
    states = [normed(rng.normal(size=(n, 2, WIDTH)).astype(np.float32)) for n in (5, 3)]
    labels = [one[:, :, 0] > 0 for one in states]
    losses = []
    for steps in (2, 150):
        exit_fit.STEPS, kept = steps, exit_fit.STEPS
        try:
            arrays, loss = exit_fit.fit_classifiers(states, labels, form, seconds=60)
        finally:
            exit_fit.STEPS = kept
        losses.append(loss)
    assert losses[1] < losses[0] and losses[1] < 0.4
    arrays["depths"] = np.array([2, 4], dtype=np.float32)
    part = Part("exits", "0" * 16, arrays, {"form": form})
    classifiers = classifiers_of(part, LAYERS)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    for one in states:
        classifiers.start()
        logits = exit_fit._forward(form, tensors, torch.from_numpy(one)[None])[0]
        for token, state in enumerate(one):
            for index, depth in enumerate((2, 4)):
                expected = float(logits[token, index].sigmoid())
                assert classifiers.probability(depth, state[index]) == pytest.approx(
                    expected, abs=1e-4
                )


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("depths", np.array([4.0, 2.0])),
        ("depths", np.array([2.0, 9.0])),
        ("depths", np.array([2.5, 4.0])),
        ("depths", np.array([])),
        ("weight", np.ones((3, WIDTH))),
        ("bias", np.ones((2, 2))),
    ],
)
def test_classifiers_that_do_not_fit_are_refused(name: str, array: np.ndarray) -> None:
    part = random_part("linear")
    arrays = {**part.tensors, name: array.astype(np.float32)}
    with pytest.raises(ModelFileError, match="Learn it again"):
        classifiers_of(Part("exits", part.model, arrays, part.facts), LAYERS)
    with pytest.raises(ModelFileError, match="Learn it again"):
        classifiers_of(Part("exits", part.model, part.tensors, {"form": "other"}), LAYERS)


def test_classifiers_of_another_width_are_refused() -> None:
    rule = LearnedExits(lambda: random_part("linear", width=4), 0.5, 0)
    with pytest.raises(ModelFileError, match="wide"):
        steps_of(rule, LayeredTable(0), Limits(8))


def sec(settings: SecSettings, lost: float) -> list[Step]:
    aids = Aids(part=lambda kind: random_part("linear", kind=kind, lost=lost))
    strategy = build_sec(engines_of(LayeredTable(2)), settings, aids)
    return list(strategy.generate(prompt_of([0, 1, 2]), Limits(20)))


def test_an_answer_that_seems_lost_ends_and_one_that_does_not_goes_on() -> None:
    given_up = sec(SecSettings(), 30.0)
    assert given_up[-1].lost and len(tokens_of(given_up)) == 3
    goes_on = sec(SecSettings(), -30.0)
    assert not any(step.lost for step in goes_on) and len(tokens_of(goes_on)) == 20
    assert {step.detail.depth for step in goes_on if step.tokens} - {LAYERS}
    # 1 switches each of the two off
    plain = list(Plain(LayeredTable(2)).generate(prompt_of([0, 1, 2]), Limits(20)))
    assert tokens_of(sec(SecSettings(exit=1.0, stop=1.0), 30.0)) == tokens_of(plain)
