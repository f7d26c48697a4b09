"""Lexical units: what is sure stands, and in the exact form only what the model confirms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adec.decoding.heads.lexical import KIND, LexicalSettings, build
from adec.decoding.plain import Plain
from adec.decoding.strategy import Aids, Limits
from adec.engines.pair import Engines
from adec.errors import ModelFileError
from adec.events.records import Guarantee
from adec.parts.part import Part
from adec.sampling import Sampler
from tests.decoding.heads.pseudo_table import SIZE, PseudoTable, pseudo_part
from tests.decoding.heads.test_hidden_transfer import END, answer_of
from tests.laws import prompt_of


def strategy_on(engine: PseudoTable, settings: LexicalSettings, count: int = 3, **facts: float):
    aids = Aids(part=lambda kind: pseudo_part(kind, count, **facts))
    return build(Engines(large=engine), settings, aids)


@given(
    seed=st.integers(0, 99),
    likeness=st.sampled_from((0.0, 0.5, 1.0)),
    temperature=st.sampled_from((0.0, 0.9)),
    prompt=st.lists(st.integers(0, SIZE - 1), min_size=1, max_size=6),
    count=st.integers(1, 5),
    pads=st.integers(0, 6),
    tokens=st.integers(1, 30),
    context=st.sampled_from((20, 4096)),
)
def test_the_exact_form_is_plain(
    seed, likeness, temperature, prompt, count, pads, tokens, context
) -> None:
    limits = Limits(tokens, END, Sampler(temperature, seed=seed), chunk=4)
    settings = LexicalSettings(form="exact", pads=pads)
    strategy = strategy_on(PseudoTable(seed, likeness, context), settings, count)
    mine, _ = answer_of(strategy, prompt_of(prompt), limits)
    plain, _ = answer_of(Plain(PseudoTable(seed, context=context)), prompt_of(prompt), limits)
    assert mine == plain and strategy.guarantee is Guarantee.EXACT


@given(
    seed=st.integers(0, 99),
    sure=st.sampled_from((0.0, 0.4, 0.7, 1.0)),
    count=st.integers(1, 4),
    pads=st.integers(0, 4),
    tokens=st.integers(1, 25),
)
def test_the_trusting_form_commits_what_is_sure_and_nothing_else(
    seed, sure, count, pads, tokens
) -> None:
    """Step by step, by the laws of the table themselves."""
    engine = PseudoTable(seed, 0.5)
    strategy = strategy_on(engine, LexicalSettings(sure=sure, pads=pads), count)
    _, steps = answer_of(strategy, prompt_of([0, 1]), Limits(tokens, END))
    sequence, most = [0, 1], min(count, pads or count)
    for step in [step for step in steps if step.tokens]:
        wanted = [int(np.argmax(engine._law(tuple(sequence))))]
        seen = (*sequence, wanted[0])
        for _ in range(most):
            row = engine._guess(seen)
            token = int(np.argmax(row))
            room = len(wanted) < tokens - (len(sequence) - 2)
            if not room or wanted[-1] in END or max(row) <= sure or token == wanted[-1]:
                break
            wanted.append(token)
            # the table foresees along what the model itself would write
            seen = (*seen, int(np.argmax(engine._law(seen))))
        assert [token.id for token in step.tokens] == wanted
        assert [t.source for t in step.tokens] == ["large", *[KIND] * (len(wanted) - 1)]
        sequence += wanted
    assert strategy.guarantee is Guarantee.APPROXIMATE


def test_beta_is_the_parts_unless_it_is_set() -> None:
    never, _ = answer_of(
        strategy_on(PseudoTable(1, 0.0), LexicalSettings(), sure=1.0), prompt_of([0]), Limits(20)
    )
    plain, _ = answer_of(Plain(PseudoTable(1)), prompt_of([0]), Limits(20))
    assert never == plain
    part = pseudo_part(KIND)
    for facts in ({}, {"sure": 2.0}, {"sure": "much"}):
        broken = Part(KIND, part.model, part.tensors, facts)
        aids = Aids(part=lambda kind, broken=broken: broken)
        strategy = build(Engines(large=PseudoTable(1)), LexicalSettings(), aids)
        with pytest.raises(ModelFileError, match="sure"):
            answer_of(strategy, prompt_of([0]), Limits(5))
