"""A model that drafts with its own lower layers writes what it would write without them."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from adec.decoding.layers.drafting.dynamic_exit import DynamicExit
from adec.decoding.layers.drafting.exit_times import ExitTimes
from adec.decoding.layers.drafting.layerskip import FixedExit, LayerSkipSettings, PayingExit, build
from adec.decoding.layers.drafting.self_draft import ExitRule, SelfDraft
from adec.decoding.plain import Plain
from adec.decoding.strategy import Aids, Limits
from adec.engines.pair import Engines
from adec.errors import UsageError
from adec.events.records import Forward, Step
from adec.events.tally import Tally
from adec.sampling import Sampler
from adec.signals import Scores
from tests.decoding.layers.layered import LAYERS, LayeredTable
from tests.laws import blend, law, prompt_of

RULES = st.one_of(
    st.builds(FixedExit, st.integers(1, LAYERS - 1), st.integers(1, 8)),
    st.builds(PayingExit, st.integers(1, LAYERS - 1), st.integers(1, 8)),
    st.builds(DynamicExit, st.integers(1, 8)),
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


class Script:
    """A layer and a head take a millisecond each; a further token of a batch takes `several` of
    what the first takes. Made the clock of an exit rule."""

    def __init__(self, several: float, *arguments: float) -> None:
        self.several = several
        self.asked = self.total = 0.0
        super().__init__(*arguments)

    def ms(self, f: Forward) -> float:
        layers = LAYERS if f.layers is None else f.layers
        # the lower layers of the last token that is verified run alone
        alone = LAYERS - layers if f.purpose == "verify" else 0
        return alone + (layers + 1) * (1 + self.several * (f.tokens - 1))

    def scripted(self, step: Step) -> Step:
        forwards = tuple(replace(f, ms=self.ms(f)) for f in step.forwards)
        self.total += sum(f.ms for f in forwards)
        return replace(step, forwards=forwards)

    def account(self, step: Step) -> None:
        super().account(self.scripted(step))  # type: ignore[misc]

    def account_prompt(self, step: Step) -> None:
        super().account_prompt(self.scripted(step))  # type: ignore[misc]

    def see_context(self, engine: LayeredTable, tokens: int) -> None:
        super().see_context(engine, tokens)  # type: ignore[misc]
        self._times.head_share = 1 / (LAYERS + 1)

    def _timed(self, ask):
        asked = self.engine.heads
        found = ask()
        ms = sum(1 + self.several * (rows - 1) for rows in self.engine.heads[len(asked) :])
        self.engine.heads = []
        self.asked += ms
        return found, ms


class Dynamic(Script, DynamicExit):
    """DEL by the script."""


class Fixed(Script, PayingExit):
    """LayerSkip by the script, where it pays."""


class Asked(LayeredTable):
    """Notes how many rows the head was asked for. Untrained: lower layers know nothing."""

    def __init__(self, seed: int, *, trained: bool = True) -> None:
        super().__init__(seed)
        self.heads: list[int] = []
        if not trained:
            self._laws = [self._laws[0]] * LAYERS + [self._laws[LAYERS]]

    def scores_at(self, depth: int, *, rows: int = 1) -> Scores:
        self.heads = [*self.heads, rows]
        return super().scores_at(depth, rows=rows)

    def scores_of(self, states) -> Scores:
        self.heads = [*self.heads, len(states)]
        return super().scores_of(states)


PROMPT = [0, 1, 2, 3] * 5
ONE = LAYERS + 1.0
"""Milliseconds of a plain token."""


def answers(rule, *, trained: bool, count: int, tokens: int = 150, seed: int = 1) -> list[Step]:
    """Some answers in one session; the draws of each are its own."""
    engine = rule.engine = Asked(seed, trained=trained)
    steps: list[Step] = []
    for number in range(count):
        limits = Limits(tokens, sampler=Sampler(0.3, seed=number))
        steps += SelfDraft("x", "y", engine, rule).generate(prompt_of(PROMPT), limits)
    return steps


def lost(rule, steps: list[Step]) -> float:
    """Share of plain decoding's time, prompts included, that was lost."""
    reading = sum(rule.ms(f) for s in steps for f in s.forwards if f.purpose == "prompt")
    # the prompt's last forward gives the first token of an answer
    first = sum(bool(s.tokens) and not s.forwards for s in steps)
    plain = reading + ONE * (len(tokens_of(steps)) - first)
    return (rule.total + rule.asked) / plain - 1


RULE_MAKERS = [
    pytest.param(lambda several: Dynamic(several, 18), id="del"),
    pytest.param(lambda several: Fixed(several, 2, 6), id="layerskip"),
]


@pytest.mark.parametrize("make", RULE_MAKERS)
def test_where_batches_are_dear_nothing_is_tried_or_asked(make) -> None:
    rule = make(1.0)
    steps = answers(rule, trained=True, count=2)
    assert sum(step.drafted for step in steps) == 0
    assert rule.asked == 0 and lost(rule, steps) == pytest.approx(0)


@pytest.mark.parametrize("make", RULE_MAKERS)
@pytest.mark.parametrize("several", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("seed", range(2))
def test_where_exits_know_nothing_less_than_a_hundredth_is_lost(
    make, several: float, seed: int
) -> None:
    rule = make(several)
    steps = answers(rule, trained=False, count=1, seed=seed)
    assert lost(rule, steps) < 0.01
    longer = answers(rule, trained=False, count=2, seed=seed)
    assert lost(rule, steps + longer) < 0.01
    # it knows because it asked
    assert rule.asked > 0


@pytest.mark.parametrize("make", RULE_MAKERS)
def test_where_exits_pay_most_rounds_draft_from_the_first_answer_on(make) -> None:
    rule = make(0.02)
    laws = law(6, 1), law(6, 1000)
    known = [blend(*laws, min(1.0, d / 2)) for d in range(LAYERS + 1)]
    engine = rule.engine = Asked(1)
    engine._laws = known  # layer 2 knows what the whole model knows
    limits = Limits(150, sampler=Sampler(0.3))
    steps = list(SelfDraft("x", "y", engine, rule).generate(prompt_of(PROMPT), limits))
    assert sum(bool(step.drafted) for step in steps) > 0.8 * (len(steps) - 6)
    assert lost(rule, steps) < -0.3
    depths = Counter(f.layers for s in steps[8:] for f in s.forwards if f.purpose == "draft")
    assert depths.most_common(1)[0][0] == 2


def test_del_asks_all_exits_once_drafts_pay_for_it() -> None:
    rule = Dynamic(0.02, 8)
    laws = law(6, 1), law(6, 1000)
    engine = rule.engine = Asked(1)
    engine._laws = [blend(*laws, min(1.0, d / 2)) for d in range(LAYERS + 1)]
    limits = Limits(300, sampler=Sampler(0.3))
    list(SelfDraft("x", "y", engine, rule).generate(prompt_of(PROMPT), limits))
    assert all(rule._counts[depth].sum() > 0 for depth in range(1, LAYERS))
    assert rule.acceptance(LAYERS - 1) > rule.acceptance(1)


def test_an_exit_is_bounded_by_what_deeper_ones_know() -> None:
    rule = Dynamic(0.1, 4)
    answers(rule, trained=True, count=1, tokens=1)
    rule._counts[:] = 0
    rule._counts[4] = (2, 6)
    assert rule.bound(2) == rule.bound(4) == pytest.approx(3.5 / 10) and rule.bound(5) == 1.0


def test_always_drafts_as_the_paper_does() -> None:
    engines = Engines(large=LayeredTable(2))
    strategy = build(engines, LayerSkipSettings(always=True), Aids())
    steps = list(strategy.generate(prompt_of([0, 1]), Limits(40)))
    assert all(step.drafted for step in steps if step.tokens and len(step.forwards) > 1)
    assert sum(step.drafted for step in steps) > 40


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
