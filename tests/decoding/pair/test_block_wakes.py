"""Wakes by the clock: exact stays exact, caches hold what is committed, and blocks follow costs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adec.decoding.pair.block_wakes import judge_chain
from adec.decoding.pair.clock.cost_curve import CostCurve
from adec.decoding.pair.ead import Ead, EadSettings
from adec.decoding.plain import Plain
from adec.decoding.strategy import Aids, Limits
from adec.events.records import Guarantee
from adec.sampling import Sampler
from tests.decoding.clock import Clock, cpu, timed_pair
from tests.laws import prompt_of

END = frozenset({5})
FLAT = cpu(10.0, 0.1)

samplers = st.builds(
    Sampler,
    temperature=st.sampled_from([0.0, 0.7, 1.3]),
    top_k=st.sampled_from([0, 3]),
    seed=st.integers(0, 99),
)
costs = st.sampled_from([FLAT, cpu(10.0, 1.0), cpu(10.0, 9.0), lambda n: 10.0 * -(-n // 8)])


def run(clock, chosen, *, seed=0, limits, prompt=(0, 1, 2), curve=None, **pair):
    small, large = timed_pair(clock, seed, **pair)
    aids = Aids() if curve is None else Aids({"large": curve})
    return list(Ead(small, large, chosen, aids).generate(prompt_of(prompt), limits)), small, large


def ids(steps):
    return [token.id for step in steps for token in step.tokens]


@settings(max_examples=150, deadline=None)
@given(
    samplers,
    st.integers(0, 50),
    st.integers(1, 60),
    st.integers(1, 4),
    costs,
    st.floats(0.2, 1),
    st.booleans(),
)
def test_exact_acceptance_gives_the_large_models_tokens(
    sampler, seed, count, prompt, cost, likeness, known
) -> None:
    """Token by token, greedy and sampled, whatever the curve and whether it is known or not."""
    limits = Limits(count, END, sampler)
    chosen = EadSettings(accept="exact", wake="clock")
    curve = CostCurve({n: cost(n) for n in (1, 2, 4, 8, 9, 16, 32)}) if known else None
    with Clock().installed() as clock:
        steps, _, _ = run(
            clock,
            chosen,
            seed=seed,
            limits=limits,
            prompt=range(prompt),
            large_cost=cost,
            likeness=likeness,
            curve=curve,
        )
        _, large = timed_pair(clock, seed)
        alone = Plain(large).generate(prompt_of(range(prompt)), limits)
        assert ids(steps) == ids(alone)


@settings(max_examples=150, deadline=None)
@given(
    samplers,
    st.integers(0, 50),
    st.integers(1, 60),
    st.sampled_from([12, 40, 4096]),
    st.sampled_from(["none", "exact", "tolerant"]),
    costs,
)
def test_engines_hold_what_was_committed_and_nothing_else(
    sampler, seed, count, context, accept, cost
) -> None:
    """After every step each cache is a prefix of prompt and answer, and the newest is unread."""
    prompt = [0, 1, 2]
    sequence = list(prompt)
    curve = CostCurve({n: cost(n) for n in (1, 2, 4, 8, 9, 16, 32)})
    with Clock().installed() as clock:
        small, large = timed_pair(clock, seed, context=context, large_cost=cost)
        ead = Ead(small, large, EadSettings(accept=accept, wake="clock"), Aids({"large": curve}))
        for step in ead.generate(prompt_of(prompt), Limits(count, END, sampler)):
            sequence += [token.id for token in step.tokens]
            for engine in (small, large):
                assert list(engine.tokens) == sequence[: engine.length]
                assert engine.length < len(sequence) or step.kind == "prompt"
            assert step.accepted <= step.drafted
    assert len(sequence) - len(prompt) <= min(count, context - len(prompt))


def test_blocks_are_long_where_batches_are_cheap_and_none_are_read_where_they_are_not() -> None:
    chosen = EadSettings(accept="exact", wake="clock")

    def drafted(cost) -> list[int]:
        curve = CostCurve({n: cost(n) for n in range(1, 65)})
        with Clock().installed() as clock:
            steps, _, _ = run(
                clock, chosen, limits=Limits(200), curve=curve, likeness=1.0, large_cost=cost
            )
        return [step.drafted for step in steps if step.drafted]

    cheap = drafted(FLAT)
    assert max(cheap) > 20
    assert drafted(cpu(10.0, 10.0)) == []


def test_a_block_stops_before_a_step_of_the_curve() -> None:
    def cost(n: int) -> float:
        return 10.0 if n <= 8 else 100.0

    curve = CostCurve({n: cost(n) for n in range(1, 65)})
    with Clock().installed() as clock:
        steps, _, _ = run(
            clock,
            EadSettings(accept="exact", wake="clock"),
            limits=Limits(200),
            curve=curve,
            likeness=1.0,
            large_cost=cost,
        )
    assert max(step.drafted for step in steps) == 7


def test_a_hopeless_small_model_costs_little() -> None:
    """Its blocks fall, it is paused, and the large model writes alone."""
    with Clock().installed() as clock:
        run(
            clock,
            EadSettings(accept="exact", wake="clock"),
            limits=Limits(300),
            curve=CostCurve({1: 10, 64: 73}),
            likeness=0.0,
        )
        spent = clock.now
        _, large = timed_pair(clock)
        began = clock.now
        list(Plain(large).generate(prompt_of([0, 1, 2]), Limits(300)))
        assert spent < 1.1 * (clock.now - began)


def test_a_lower_share_lets_more_drafts_stand() -> None:
    def accepted(share: float) -> int:
        total = 0
        for seed in range(10):
            with Clock().installed() as clock:
                steps, _, _ = run(
                    clock,
                    EadSettings(accept="tolerant", wake="clock", share=share),
                    seed=seed,
                    limits=Limits(60),
                    curve=CostCurve({1: 10, 64: 12}),
                )
            total += sum(step.accepted for step in steps)
        return total

    assert accepted(0.01) > accepted(0.5) > accepted(1.0)


class Rows:
    """Rows of probabilities as scores."""

    def __init__(self, rows) -> None:
        self._rows = rows

    def argmax(self, row: int) -> int:
        return max(range(len(self._rows[row])), key=self._rows[row].__getitem__)

    def probability(self, row: int, token: int) -> float:
        return self._rows[row][token]

    def row(self, row: int):
        return np.log(np.array(self._rows[row], dtype=np.float32))


@pytest.mark.parametrize(
    ("share", "standing", "token"),
    [(None, 0, 1), (1.0, 0, 1), (0.6, 1, 1), (0.3, 2, 0), (0.001, 2, 0)],
)
def test_a_draft_stands_by_its_share_of_the_best(share, standing, token) -> None:
    rows = Rows([[0.3, 0.4, 0.3], [0.3, 0.6, 0.1], [0.8, 0.1, 0.1]])
    limits = Limits(10, frozenset({2}))
    accepted = judge_chain([0, 0], rows, 0, limits, share)
    assert (len(accepted.path), accepted.token) == (standing, token)


def test_a_trusted_draft_stands_unjudged() -> None:
    rows = Rows([[0.3, 0.4, 0.3], [0.3, 0.6, 0.1], [0.8, 0.1, 0.1]])
    accepted = judge_chain([0, 0], rows, 0, Limits(10, frozenset({2})), None, {0})
    assert (len(accepted.path), accepted.token) == (1, 1)


def test_an_end_token_must_be_the_large_models_own() -> None:
    rows = Rows([[0.3, 0.4, 0.3], [0.3, 0.1, 0.6]])
    limits = Limits(10, frozenset({2}))
    assert judge_chain([2], rows, 0, limits, 0.01).path == ()
    ended = judge_chain([0, 2], Rows([[0.9, 0.05, 0.05], [0.1, 0.1, 0.8], [1, 0, 0]]), 0, limits, 1)
    assert (ended.path, ended.token) == ((0, 1), None)


def test_closing_early_leaves_the_engines_usable() -> None:
    chosen, curve = EadSettings(accept="exact", wake="clock"), CostCurve({1: 10, 64: 12})
    with Clock().installed() as clock:
        small, large = timed_pair(clock, 3)
        ead = Ead(small, large, chosen, Aids({"large": curve}))
        steps = ead.generate(prompt_of([0, 1]), Limits(30))
        for _ in range(4):
            next(steps)
        steps.close()
        again = ids(ead.generate(prompt_of([0, 1]), Limits(30)))
        _, large = timed_pair(clock, 3)
        assert again == ids(Plain(large).generate(prompt_of([0, 1]), Limits(30)))


def test_guarantees() -> None:
    with Clock().installed() as clock:
        pair = timed_pair(clock)
        for accept in ("none", "tolerant"):
            made = Ead(*pair, EadSettings(accept=accept, wake="clock"))
            assert made.guarantee is Guarantee.APPROXIMATE
        exact = EadSettings(accept="exact", wake="clock")
        assert Ead(*pair, exact).guarantee is Guarantee.EXACT


def test_without_a_judge_only_doubtful_drafts_must_be_the_large_models() -> None:
    """Trusted always, or never: the small model's tokens, or the large one's."""
    curve = CostCurve({1: 10, 64: 12})
    with Clock().installed() as clock:
        for up in (99.0, 0.0):
            chosen = EadSettings(wake="clock", up=up)
            steps, small, large = run(clock, chosen, limits=Limits(40), curve=curve, likeness=0.5)
            fed = len(large.fed)
            alone = ids(Plain(large).generate(prompt_of([0, 1, 2]), Limits(40)))
            assert (ids(steps) == alone) is (up == 0.0)
            if up == 99.0:
                # not even the prompt is read
                assert fed == 0
                assert ids(steps) == ids(Plain(small).generate(prompt_of([0, 1, 2]), Limits(40)))


@settings(max_examples=60, deadline=None)
@given(samplers, st.integers(0, 50), st.floats(0, 1.8), costs)
def test_a_trusted_token_is_the_small_models_and_sure_and_a_doubted_one_the_large_models(
    sampler, seed, up, cost
) -> None:
    curve = CostCurve({n: cost(n) for n in (1, 2, 4, 8, 9, 16, 32)})
    limits = Limits(40, END, sampler)
    with Clock().installed() as clock:
        steps, small, large = run(
            clock,
            EadSettings(wake="clock", up=up),
            seed=seed,
            limits=limits,
            curve=curve,
            large_cost=cost,
        )
        sequence = [0, 1, 2]
        for token in (token for step in steps for token in step.tokens):
            for engine in (small, large):
                engine.rewind(0)
            rows = small.forward(sequence), large.forward(sequence)
            own, theirs = (sampler.pick(row, 0, len(sequence)) for row in rows)
            if token.id != theirs:
                assert token.source == "small" and token.id == own
                assert rows[0].entropy(0) <= up
            sequence.append(token.id)


def test_a_reading_that_is_not_won_back_is_not_begun_and_that_is_said_once() -> None:
    """The small model is fast, but reading the prompt takes longer than the answer may win."""
    small_cost = cpu(1.0, 1.0)
    curve, prompt = CostCurve({n: FLAT(n) for n in (1, 2, 8, 32, 64)}), [0, 1, 2, 3] * 100
    for start, runs in (("forecast", False), ("always", True)):
        for accept in ("exact", "none"):
            with Clock().installed() as clock:
                small, large = timed_pair(clock, small_cost=small_cost, large_cost=FLAT)
                curves = {"large": curve, "small": CostCurve({1: 1.0, 64: 64.0})}
                chosen = EadSettings(accept=accept, wake="clock", start=start, up=9.0)
                ead = Ead(small, large, chosen, Aids(curves))
                steps = list(ead.generate(prompt_of(prompt), Limits(60)))
            assert bool(small.fed) is runs
            said = [step.reason for step in steps if "not tried" in (step.reason or "")]
            assert len(said) == (not runs)


def test_nothing_that_is_less_likely_than_the_share_stands_and_all_else_does() -> None:
    """The small model's own token at every position, up to where the large one forbids it."""
    share, prompt = 0.3, [0, 1, 2]
    for seed in range(20):
        with Clock().installed() as clock:
            steps, _, large = run(
                clock,
                EadSettings(accept="tolerant", wake="clock", share=share),
                seed=seed,
                limits=Limits(40, END),
                curve=CostCurve({1: 10, 64: 12}),
            )
            sequence = list(prompt)
            for token in (token for step in steps for token in step.tokens):
                large.rewind(0)
                row = large.forward(sequence)
                best = row.argmax(0)
                if token.source == "large":
                    assert token.id == best
                else:
                    least = 1.0 if token.id in END else share
                    assert row.probability(0, token.id) >= least * row.probability(0, best)
                sequence.append(token.id)


def test_a_share_of_one_is_exact() -> None:
    for seed in range(10):
        with Clock().installed() as clock:
            chosen = EadSettings(accept="tolerant", wake="clock", share=1.0)
            curve = CostCurve({1: 10, 64: 12})
            steps, _, large = run(clock, chosen, seed=seed, limits=Limits(60), curve=curve)
            alone = Plain(large).generate(prompt_of([0, 1, 2]), Limits(60))
            assert ids(steps) == ids(alone)


def test_what_was_too_doubtful_to_draft_is_compared_with_what_the_large_model_wrote() -> None:
    """Nothing doubtful is ever drafted: reading two tokens costs twice one, sixteen a little more
    than eight."""

    doubtful = (0.25, 0.35, 0.45, 0.55, 0.65, 0.75)

    def chances(likeness: float) -> float:
        points = {1: 10, 2: 20, 8: 70, 16: 71, 17: 140, 32: 141}
        cost = {n: 10.0 * n if n < 8 else 71.0 * -(-n // 16) for n in range(1, 65)}
        with Clock().installed() as clock:
            small, large = timed_pair(clock, likeness=likeness, large_cost=cost.__getitem__)
            chosen = EadSettings(accept="exact", wake="clock", start="always")
            ead = Ead(small, large, chosen, Aids({"large": CostCurve(points)}))
            steps = list(ead.generate(prompt_of([0, 1, 2]), Limits(200)))
            assert any(not step.drafted and len(step.forwards) > 1 for step in steps)
        return sum(map(ead._clock.chance, doubtful))

    assert chances(1.0) > sum(doubtful) > chances(0.0)
