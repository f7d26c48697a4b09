"""`speculate` with fitted parts: plain's answers in any case, and quicker where it pays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adec.decoding.heads.fitted_drafters import WAYS, BestForesight, fitted_drafters
from adec.decoding.heads.loss_bound import LONGEST, MAY_LOSE, LossBound
from adec.decoding.heads.prompt_trees import RowPrice, carried_by, plan_trees
from adec.decoding.heads.pseudo_part import hit_rates
from adec.decoding.heads.rank_counts import RANKS, accuracy_of_rates
from adec.decoding.pair.clock.cost_curve import CostCurve
from adec.decoding.pair.speculate import SpeculateSettings, build
from adec.decoding.plain import Plain
from adec.decoding.strategy import Aids, Limits
from adec.engines.pair import Engines
from adec.engines.table import TableEngine
from adec.errors import AdecError
from adec.events.records import Step
from adec.parts.part import Part
from adec.sampling import Sampler
from adec.signals import Scores
from adec.tree import TokenTree
from tests.decoding.clock import Clock, Cost, TimedTable, cpu
from tests.decoding.heads.pseudo_table import PseudoTable, pseudo_part
from tests.decoding.heads.test_ppd import SIZE, foreseeing, part
from tests.laws import law, prompt_of

END = frozenset({SIZE - 1})
KINDS = [way.kind for way in WAYS]


class FullTable(PseudoTable):
    """A table that can all that parts ask for, on a clock on which tokens more are nearly free."""

    def __init__(self, clock: Clock, seed: int, likeness: float, context: int = 4096) -> None:
        super().__init__(seed, likeness, context)
        self.capabilities = frozenset({"rewind", "tree", "pseudo", "vectors"})
        self._clock = clock

    def forward(self, tokens: Sequence[int], *, rows: int = 1) -> Scores:
        self._clock.now += 0.01
        return super().forward(tokens, rows=rows)

    def forward_tree(self, tree: TokenTree, *, first_row: int = 0) -> Scores:
        self._clock.now += 0.01
        return super().forward_tree(tree, first_row=first_row)


def fitted(kinds: Sequence[str], count: int = 3, rate: float = 0.6) -> Aids:
    """What a session hands in where these parts were fitted."""

    def found(kind: str) -> Part | None:
        if kind not in kinds:
            return None
        if kind == "ppd":
            return part(count, first=rate)
        rates = {f"right_{step}_ahead": rate for step in range(1, count + 1)}
        return pseudo_part(kind, count, **rates)

    return Aids(curves={"large": CostCurve({1: 10.0, 64: 10.0})}, fitted=found)


def answer_of(strategy, prompt: Sequence[int], limits: Limits) -> tuple[list[int], list[Step]]:
    steps = list(strategy.generate(prompt_of(prompt), limits))
    return [token.id for step in steps for token in step.tokens], steps


@given(
    seed=st.integers(0, 999),
    likeness=st.sampled_from((0.0, 0.5, 1.0)),
    kinds=st.sets(st.sampled_from(KINDS), min_size=1),
    count=st.integers(1, 4),
    settings=st.builds(
        SpeculateSettings, suffix=st.booleans(), recycling=st.booleans(),
        longest=st.integers(1, 20), keep_times=st.just(False),
    ),
    temperature=st.sampled_from((0.0, 0.9)),
    prompt=st.lists(st.integers(0, SIZE - 1), min_size=1, max_size=5),
    left=st.integers(1, 30),
    branches=st.integers(1, 12),
    context=st.sampled_from((20, 4096)),
)  # fmt: skip
def test_answers_are_plains_with_whatever_parts(
    seed, likeness, kinds, count, settings, temperature, prompt, left, branches, context
) -> None:
    limits = Limits(left, END, Sampler(temperature, seed=seed), chunk=4, resume=True)
    clock = Clock()
    engine = FullTable(clock, seed, likeness, context)
    engine.branches = branches
    strategy = build(Engines(large=engine), settings, fitted(sorted(kinds), count))
    for _ in range(2):
        with clock.installed():
            mine, _ = answer_of(strategy, prompt, limits)
        plain, _ = answer_of(Plain(PseudoTable(seed, context=context)), prompt, limits)
        assert mine == plain
        assert min(engine.tokens, default=0) >= 0
        # the next turn of a conversation goes on with what the engine holds
        prompt = [*prompt, *mine, 0][: context - 1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_fitted_part_that_is_right_saves_forwards(kind: str) -> None:
    settings = SpeculateSettings(suffix=False, recycling=False, keep_times=False)
    clock = Clock()
    engine: TableEngine = FullTable(clock, 3, 1.0)
    if kind == "ppd":
        engine = TimedForesight(foreseeing, clock, cpu(10.0, 0.0))
    strategy = build(Engines(large=engine), settings, fitted([kind], rate=0.8))
    with clock.installed():
        tokens, steps = answer_of(strategy, [0], Limits(80))
    forwards = [f for s in steps for f in s.forwards if f.purpose in ("write", "verify")]
    assert len(tokens) / len(forwards) > 2
    assert {token.source for step in steps for token in step.tokens} == {"large", kind}


def test_without_a_part_the_engine_is_the_models_own() -> None:
    engine = FullTable(Clock(), 1, 1.0)
    assert fitted_drafters(engine, fitted([])) == (engine, None)
    # an engine that lacks the capability is not asked for
    bare = TableEngine(law(SIZE, 1), size=SIZE)
    bare.capabilities = frozenset({"rewind", "tree"})
    assert fitted_drafters(bare, fitted(KINDS)) == (bare, None)


def test_a_part_that_does_not_fit_is_left_out_and_named() -> None:
    broken = replace(part(), tensors={"embeddings": np.zeros((3, 9), np.float32)})
    told: list[AdecError] = []
    aids = Aids(fitted=lambda kind: broken if kind == "ppd" else None, complain=told.append)
    engine = FullTable(Clock(), 1, 1.0)
    assert fitted_drafters(engine, aids) == (engine, None)
    assert "embeddings" in told[0].message and "--fit ppd" in (told[0].hint or "")


def test_the_part_that_promises_most_is_at_work() -> None:
    rates = {"hidden-transfer": 0.3, "lexical": 0.9}

    def found(kind: str) -> Part | None:
        if kind not in rates:
            return None
        facts = {f"right_{step}_ahead": rates[kind] for step in (1, 2, 3)}
        return pseudo_part(kind, 3, **facts)

    aids = replace(fitted([]), fitted=found)
    settings = SpeculateSettings(suffix=False, recycling=False, keep_times=False)
    clock = Clock()
    engine = FullTable(clock, 5, 1.0)
    _, ahead = fitted_drafters(engine, aids)
    assert isinstance(ahead, BestForesight)
    with clock.installed():
        _, steps = answer_of(build(Engines(large=engine), settings, aids), [0, 1], Limits(60))
    assert {t.source for s in steps for t in s.tokens} == {"large", "lexical"}


class TimedForesight(TimedTable):
    """Prompt tokens that read -1, -2, … on a clock, with forwards that cost by their tokens."""

    def __init__(self, table_law: Callable, clock: Clock, cost: Cost) -> None:
        capabilities = frozenset({"rewind", "tree", "vectors"})
        super().__init__(table_law, clock, cost, size=SIZE, capabilities=capabilities)


def shares(table_law: Callable, more: float, counts: Sequence[int], aids: Aids) -> list[float]:
    """Milliseconds of answers beside plain's, one after the other, where a token adds `more`."""
    clock, found = Clock(), []
    settings = SpeculateSettings(suffix=False, recycling=False, keep_times=False)
    with clock.installed():
        engine = TimedForesight(table_law, clock, cpu(10.0, more))
        strategy = build(Engines(large=engine), settings, aids)
        for count in counts:
            before = clock.now
            answer_of(strategy, [1], Limits(count))
            found.append(1000 * (clock.now - before) / (10.0 * count))
    return found


def wrong(prefix: tuple[int, ...]) -> list[float]:
    return foreseeing((*prefix, -1) if prefix[-1] < 0 else prefix)


def test_a_part_that_cannot_pay_is_not_tried_and_one_that_promised_too_much_hardly_costs() -> None:
    known = {"large": CostCurve({1: 10.0, 64: 640.0})}
    aids = replace(fitted(["ppd"]), curves=known)
    assert shares(wrong, 10.0, [100], aids) == pytest.approx([1.0])
    cheap = replace(fitted(["ppd"], rate=0.7), curves={"large": CostCurve({1: 10.0, 64: 73.0})})
    many = [30] * 100
    lost = sum(30 * (share - 1) for share in shares(wrong, 1.0, many, cheap))
    # one percent of all answers, and a try
    assert 0 < lost < 0.01 * sum(many) + MAY_LOSE + 1


def test_a_part_that_pays_is_used_from_the_first_answer_on() -> None:
    cheap = replace(fitted(["ppd"], rate=0.7), curves={"large": CostCurve({1: 10.0, 64: 29.0})})
    assert max(shares(foreseeing, 0.3, [60, 60], cheap)) < 0.7


def copying(prefix: tuple[int, ...]) -> list[float]:
    """A cycle of 40 tokens; one alone does not tell the next, and prompt tokens know it."""
    real = sum(token >= 0 for token in prefix)
    steps = sum(token < 0 for token in prefix)
    token = (real + steps) % 40
    wanted = (7 * token * token + token) % (SIZE - 1)
    return [0.9 if other == wanted else 0.02 for other in range(SIZE)]


def test_rows_are_planted_behind_what_another_drafter_wrote() -> None:
    settings = SpeculateSettings(recycling=False, keep_times=False)
    clock = Clock()
    engine = TimedForesight(copying, clock, cpu(10.0, 0.0))
    strategy = build(Engines(large=engine), settings, fitted(["ppd"], rate=0.5))
    with clock.installed():
        tokens, steps = answer_of(strategy, [0], Limits(200))
    assert tokens == answer_of(Plain(TableEngine(copying, size=SIZE)), [0], Limits(200))[0]
    both = [
        step
        for step in steps
        if {"draft", "verify"} <= {f.purpose for f in step.forwards}
        and "suffix" in {token.source for token in step.tokens}
    ]
    assert both


@given(st.integers(1, 4), st.floats(0.1, 1.0), st.floats(0.0, 0.3), st.integers(4, 40))
def test_whole_chains_are_planned_within_the_size(count, tokens, slope, most) -> None:
    price = RowPrice(tokens, whole=True)
    accuracy = accuracy_of_rates([0.6] * count)
    plan = plan_trees(accuracy, lambda n: 1 + slope * (n - 1), most=most, nodes=most, rows=price)
    for tree in plan.trees:
        assert set(tree.prompts) <= {0, count} and tree.size <= most
    assert plan.rate >= 0.999


def test_planted_rows_are_those_that_are_missed_most() -> None:
    values = [0.0, 0.5, 0.7]
    prompts, worth = carried_by([0.1, 0.2, 0.7], values, lambda size: 0.12 * size, most=20)
    # 0.7 * 0.5, 0.7 * 0.2 pay 0.12; 0.2 * 0.5 does not
    assert prompts == [0, 0, 2] and worth == pytest.approx(0.7 * 0.7 - 0.12 * 5)
    whole, _ = carried_by(
        [0.1, 0.2, 0.7], values, lambda size: 0.01 * size, most=8, rows=RowPrice(0.5, whole=True)
    )
    assert whole == [2, 2, 2]
    assert carried_by([1.0], values, lambda size: 1.0 * size, most=9)[0] == [0]


def test_hit_rates_are_those_noted_or_such_as_give_the_noted_tokens() -> None:
    facts = {"right_1_ahead": 0.5, "right_2_ahead": 0.25}
    assert hit_rates(pseudo_part("lexical", 2, **facts), 2) == [0.5, 0.25]
    older = hit_rates(pseudo_part("lexical", 3, tokens_a_forward_exact=2.0), 3)
    assert older == [0.5] * 3
    for facts in ({"right_1_ahead": 7.0}, {"tokens_a_forward": -3.0}, {}):
        assert hit_rates(pseudo_part("lexical", 1, **facts), 1) == [0.0]
    accuracy = accuracy_of_rates([0.0, 0.3, 1.0])
    assert accuracy.shape == (3, RANKS) and (accuracy.sum(1) <= 1).all()
    assert (np.diff(accuracy) <= 0).all()


def test_a_loss_is_followed_by_a_rest_of_a_hundred_times_as_long() -> None:
    bound = LossBound()
    assert not bound.book(-10.0, 10.0) and bound.resting == 0
    assert bound.book(-15.0, 10.0) and bound.resting == 250
    assert not bound.pass_rounds(249) and bound.pass_rounds(5)
    # what was won is remembered, but not for ever
    for _ in range(50):
        bound.book(10.0, 10.0)
    lost = 0
    while not bound.book(-10.0, 10.0):
        lost += 1
    assert lost == 10
    for _ in range(9):
        bound.pass_rounds(bound.resting)
        bound.refuse()
    assert bound.resting == LONGEST
