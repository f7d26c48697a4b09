"""Lexical units: what is sure stands, and in the exact form only what the model confirms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adec.decoding.heads.lexical import KIND, LexicalSettings, build
from adec.decoding.heads.loss_bound import MAY_LOSE
from adec.decoding.plain import Plain
from adec.decoding.strategy import Aids, Limits
from adec.engines.pair import Engines
from adec.errors import ModelFileError
from adec.events.records import Guarantee
from adec.parts.part import Part
from adec.sampling import Sampler
from tests.decoding.clock import Clock
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
    strategy = strategy_on(engine, LexicalSettings(sure=sure, size="fixed", pads=pads), count)
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


class TimedPads(PseudoTable):
    """Forwards that take 10 ms, and `more` for each further token, pads at three layers of five."""

    def __init__(self, clock: Clock, likeness: float, more: float) -> None:
        super().__init__(3, likeness)
        self._clock, self._more = clock, more
        self.padded = 0

    def _pass(self, tokens: float) -> None:
        self._clock.now += (10.0 + self._more * (tokens - 1)) / 1000

    def forward(self, tokens, *, rows: int = 1):
        self._pass(len(tokens))
        return super().forward(tokens, rows=rows)

    def forward_ahead(self, tree, carriers, *, first_row: int = 0):
        assert self._states is not None
        self._pass(len(tree) + 0.6 * self._states.count * len(carriers))
        self.padded += 1
        return super().forward_ahead(tree, carriers, first_row=first_row)


def share_of_plain(likeness: float, more: float, trusted: float, sure: float = 0.2):
    """Time beside plain decoding's, and forwards with pads, of answers one after the other."""
    clock = Clock()
    engine = TimedPads(clock, likeness, more)
    strategy = strategy_on(engine, LexicalSettings(sure=sure), trusted_a_forward=trusted)
    with clock.installed():
        for _ in range(6):
            answer_of(strategy, prompt_of([0, 1]), Limits(100))
    return 1000 * clock.now / (6 * (10.0 * 99 + 10.0 + more)), engine.padded


def test_pads_are_fed_where_they_pay() -> None:
    share, padded = share_of_plain(1.0, 0.5, 1.0)
    assert share < 0.7 and padded > 100


def test_where_pads_are_forecast_to_lose_none_are_fed() -> None:
    share, padded = share_of_plain(1.0, 9.0, 0.1)
    assert share == pytest.approx(1.0) and padded == 0


def test_pads_that_cost_more_than_was_hoped_are_tried_once() -> None:
    share, padded = share_of_plain(1.0, 9.0, 1.0, sure=1.0)
    assert padded == 1 and share < 1.01


def test_pads_that_trust_nothing_are_given_up() -> None:
    share, padded = share_of_plain(1.0, 0.5, 1.0, sure=1.0)
    # a pad adds little here, so it takes some rounds to lose two plain ones
    assert 6 < padded < 120
    # one percent and a try
    assert share < 1.01 + (MAY_LOSE + 0.2) / 600


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
