"""Hidden Transfer: the model writes every token, whatever its part foresees."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adec.decoding.heads.hidden_transfer import KIND, TransferSettings, build
from adec.decoding.plain import Plain
from adec.decoding.strategy import Aids, Limits
from adec.engines.pair import Engines
from adec.errors import ModelFileError
from adec.events.records import Guarantee
from adec.events.tally import Tally
from adec.parts.part import Part
from adec.sampling import Sampler
from tests.decoding.heads.pseudo_table import LAYERS, SIZE, PseudoTable, pseudo_part
from tests.laws import prompt_of

END = frozenset({SIZE - 1})


def strategy_on(engine: PseudoTable, settings: TransferSettings, count: int = 3):
    aids = Aids(part=lambda kind: pseudo_part(kind, count))
    return build(Engines(large=engine), settings, aids)


def answer_of(strategy, prompt, limits):
    steps = list(strategy.generate(prompt, limits))
    return [token.id for step in steps for token in step.tokens], steps


@given(
    seed=st.integers(0, 99),
    likeness=st.sampled_from((0.0, 0.5, 1.0)),
    temperature=st.sampled_from((0.0, 0.9)),
    prompt=st.lists(st.integers(0, SIZE - 1), min_size=1, max_size=6),
    count=st.integers(1, 4),
    budget=st.integers(1, 12),
    top=st.integers(1, 3),
    carry=st.sampled_from((0.0, 0.3, 1.0)),
    tokens=st.integers(1, 30),
    context=st.sampled_from((20, 4096)),
)
def test_the_answer_is_plains_whatever_is_foreseen(
    seed, likeness, temperature, prompt, count, budget, top, carry, tokens, context
) -> None:
    limits = Limits(tokens, END, Sampler(temperature, seed=seed), chunk=4)
    settings = TransferSettings(budget=budget, top=top, carry=carry)
    engine = PseudoTable(seed, likeness, context)
    mine, _ = answer_of(strategy_on(engine, settings, count), prompt_of(prompt), limits)
    plain, _ = answer_of(Plain(PseudoTable(seed, context=context)), prompt_of(prompt), limits)
    assert mine == plain


def test_what_is_foreseen_rightly_saves_forwards() -> None:
    strategy = strategy_on(PseudoTable(3, 1.0), TransferSettings(budget=3, top=1, carry=0.0))
    tokens, steps = answer_of(strategy, prompt_of([0, 1]), Limits(40))
    # every draft stands, so a round writes three and the model's own; the prompt writes one
    assert len(steps) == 2 + 10 and len(tokens) == 40
    assert {t.source for step in steps for t in step.tokens} == {"large", KIND}
    assert strategy.guarantee is Guarantee.EXACT


def test_pseudo_positions_are_counted_as_drafting() -> None:
    engine = PseudoTable(3, 0.5)
    _, steps = answer_of(strategy_on(engine, TransferSettings()), prompt_of([0, 1]), Limits(30))
    drafts = [f for step in steps for f in step.forwards if f.purpose == "draft"]
    # behind the layer at which they enter
    assert {f.layers for f in drafts} == {LAYERS - 2}
    assert sum(f.tokens for f in drafts) == 3 * engine.carried
    tally = Tally(KIND, "exact", layers=LAYERS)
    for step in steps:
        tally.add(step, 0.0)
    decoded = [f for step in steps for f in step.forwards if f.purpose in ("write", "verify")]
    assert tally.forwards["large"] == len(decoded)
    assert tally.layers_computed == LAYERS * tally.fed["large"] + (LAYERS - 2) * sum(
        f.tokens for f in drafts
    )


def test_a_node_that_is_hardly_reached_carries_nothing() -> None:
    carried = []
    for carry in (0.0, 0.5):
        engine = PseudoTable(5, 0.5)
        answer_of(strategy_on(engine, TransferSettings(carry=carry)), prompt_of([0]), Limits(30))
        carried.append(engine.carried)
    assert carried[1] < carried[0]


def answer_with(part: Part) -> None:
    aids = Aids(part=lambda kind: part)
    strategy = build(Engines(large=PseudoTable(0)), TransferSettings(), aids)
    answer_of(strategy, prompt_of([0, 1]), Limits(4))


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("depths", np.array([], np.float32), "0 positions"),
        ("depths", np.array([1.5, 2, 3], np.float32), "layers"),
        ("depths", np.array([-1, 2, 3], np.float32), "layers"),
        ("shifts", np.zeros((2, 4), np.float32), "2 x 4"),
        ("shifts", np.zeros((3, 5), np.float32), "maps"),
        ("maps", np.zeros((3, 4, 5), np.float32), "3 x 4 x 5"),
        ("q.down", np.zeros((2, 4), np.float32), "q.up"),
    ],
)
def test_parts_that_do_not_go_together_are_refused(name, array, words) -> None:
    part = pseudo_part(KIND)
    broken = replace(part, tensors={**part.tensors, name: array})
    with pytest.raises(ModelFileError, match=words):
        answer_with(broken)


def test_a_part_of_another_width_says_how_to_learn_it_again() -> None:
    arrays = {
        "depths": np.array([1], np.float32),
        "shifts": np.zeros((1, 9), np.float32),
        "maps": np.zeros((1, 9, 9), np.float32),
    }
    part = Part(KIND, "0" * 16, arrays)
    with pytest.raises(ModelFileError, match="9 wide") as caught:
        answer_with(part)
    assert "--fit hidden-transfer" in (caught.value.hint or "")
