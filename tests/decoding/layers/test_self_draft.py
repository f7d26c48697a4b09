"""A model that drafts with its own lower layers writes what it would write without them."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from adec.decoding.layers.dynamic_exit import DynamicExit
from adec.decoding.layers.exit_times import ExitTimes
from adec.decoding.layers.layerskip import FixedExit, LayerSkipSettings, build
from adec.decoding.layers.self_draft import ExitRule, SelfDraft
from adec.decoding.plain import Plain
from adec.decoding.strategy import Aids, Limits
from adec.engines.pair import Engines
from adec.errors import UsageError
from adec.events.records import Forward, Step
from adec.events.tally import Tally
from adec.sampling import Sampler
from tests.decoding.layers.layered import LAYERS, LayeredTable
from tests.laws import prompt_of

RULES = st.one_of(
    st.builds(FixedExit, st.integers(1, LAYERS - 1), st.integers(1, 8)),
    st.builds(DynamicExit, st.just(0.95), st.integers(1, 8), st.integers(1, 5)),
)
SAMPLERS = st.one_of(
    st.just(Sampler()), st.builds(Sampler, st.floats(0.2, 1.5), seed=st.integers(0, 99))
)


def steps_of(rule: ExitRule, engine: LayeredTable, limits: Limits) -> list[Step]:
    return list(SelfDraft("x", "y", engine, rule).generate(prompt_of([0, 1, 2]), limits))


def tokens_of(steps) -> list[int]:
    return [token.id for step in steps for token in step.tokens]


@settings(deadline=None, max_examples=150)
@given(
    rule=RULES,
    sampler=SAMPLERS,
    seed=st.integers(0, 200),
    count=st.integers(1, 40),
    context=st.integers(5, 60),
)
def test_the_tokens_are_plains(
    rule: ExitRule, sampler: Sampler, seed: int, count: int, context: int
) -> None:
    limits = Limits(count, frozenset({5}), sampler)
    plain = Plain(LayeredTable(seed, context=context)).generate(prompt_of([0, 1, 2]), limits)
    engine = LayeredTable(seed, context=context)
    steps = steps_of(rule, engine, limits)
    assert tokens_of(steps) == tokens_of(plain)
    assert engine.length < 3 + len(tokens_of(steps))
    # a second answer on the same engine
    assert tokens_of(steps_of(rule, engine, limits)) == tokens_of(steps)


def test_tokens_are_marked_by_the_layer_that_drafted_them_and_fed_once() -> None:
    steps = steps_of(FixedExit(4, 3), LayeredTable(3), Limits(60))
    sources = Counter(token.source for step in steps for token in step.tokens)
    assert set(sources) == {"layer:4", "large"} and sources["layer:4"] > 10
    tally = Tally("layerskip", "exact")
    for step in steps:
        tally.add(step, 1.0)
    # each round feeds its drafts and the newest token through all layers, once
    rounds = [step for step in steps if step.drafted]
    plain = sum(f.purpose == "write" for step in steps for f in step.forwards)
    assert tally.fed["large"] == sum(step.drafted + 1 for step in rounds) + plain
    assert {f.layers for step in rounds for f in step.forwards} == {4, LAYERS - 4}
    assert tally.summary(1.0)["tokens_per_large_forward"] > 1


def test_del_drafts_where_a_token_costs_least_and_rests_where_none_pays() -> None:
    unit = {"draft": 1.0, "verify": 1.0, "write": 1.0, "prompt": 1.0}

    class Timed(DynamicExit):
        """Every layer takes `unit`, a batch as long as one token."""

        def account(self, step: Step) -> None:
            forwards = tuple(
                replace(f, ms=unit[f.purpose] * (LAYERS if f.layers is None else f.layers))
                for f in step.forwards
            )
            super().account(replace(step, forwards=forwards))

    limits = Limits(300, sampler=Sampler(1.0))
    rule = Timed(0.95, 8, 10)
    steps = steps_of(rule, LayeredTable(1), limits)
    # deeper layers know more, and the exits tried are those that the counts make cheapest
    assert rule.acceptance[LAYERS - 2] > rule.acceptance[0]
    depths = Counter(f.layers for s in steps[50:] for f in s.forwards if f.purpose == "draft")
    assert depths.most_common(1)[0][0] > 1 and sum(step.accepted for step in steps) > 60
    unit |= {"draft": 20.0, "verify": 20.0}
    drafted = [step.drafted for step in steps_of(Timed(0.95, 8, 10), LayeredTable(1), limits)]
    assert 0 < sum(map(bool, drafted)) <= len(drafted) / 10 + 1


@pytest.mark.parametrize("wrong", [LAYERS, LAYERS + 3])
def test_an_exit_beyond_the_model_is_refused(wrong: int) -> None:
    engines = Engines(large=LayeredTable(0))
    with pytest.raises(UsageError, match=f"{LAYERS} layers"):
        build(engines, LayerSkipSettings(exit=wrong), Aids())


@given(
    st.lists(
        st.tuples(st.integers(1, 5), st.integers(1, 8), st.floats(0.01, 50)),
        min_size=1,
        max_size=20,
    ),
    st.integers(1, 5),
    st.integers(1, 12),
)
def test_times_of_rounds_are_finite_and_grow_with_the_draft(
    seen: list[tuple[int, int, float]], depth: int, length: int
) -> None:
    times = ExitTimes(LAYERS)
    times.add(Step("write", (), (Forward("large", "write", 1, 10.0),)))
    for at, drafts, ms in seen:
        forwards = [Forward("large", "draft", 1, ms, at)] * drafts
        verify = Forward("large", "verify", drafts + 1, ms * drafts, LAYERS - at)
        times.add(Step("wake", (), (*forwards, verify), drafted=drafts))
    assert times.plain_ms == 10.0
    assert 0 < times.round_ms(depth, length) < float("inf")
    most = max(drafts for _, drafts, _ in seen)
    beyond = [times.round_ms(depth, most + more) for more in range(1, 6)]
    assert beyond == sorted(beyond)
