"""A model that drafts with layers left out writes what it would write with all of them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from adec.decoding.layers.drafting.search_account import FIRST_CREDIT, SHARE, SearchAccount
from adec.decoding.layers.drafting.self_draft import PLAIN_TOKENS
from adec.decoding.layers.drafting.swift import Layers, LayerSets, Swift, SwiftSettings, build
from adec.decoding.plain import Plain
from adec.decoding.strategy import Aids, Limits
from adec.engines.pair import Engines
from adec.errors import EngineError
from adec.events.records import Step
from adec.sampling import Sampler
from adec.signals import Scores
from tests.decoding.layers.layered import LAYERS, LayeredTable
from tests.laws import blend, law, prompt_of

SAMPLERS = st.one_of(
    st.just(Sampler()), st.builds(Sampler, st.floats(0.2, 1.5), seed=st.integers(0, 99))
)


class Timed(LayerSets):
    """A layer takes `unit` a token; forwards of several take `several` of what their tokens do."""

    def __init__(self, several: float, unit: float = 1.0, longest: int = 6) -> None:
        super().__init__(LAYERS, longest)
        self.several, self.unit = several, unit
        self.windows: list[tuple[Layers, int, int]] = []

    def ms(self, tokens: int, layers: int) -> float:
        return self.unit * layers * max(1.0, self.several * tokens)

    def scripted(self, step: Step) -> Step:
        forwards = tuple(
            replace(f, ms=self.ms(f.tokens, LAYERS if f.layers is None else f.layers))
            for f in step.forwards
        )
        return replace(step, forwards=forwards)

    def account(self, step: Step) -> None:
        super().account(self.scripted(step))

    def account_prompt(self, step: Step) -> None:
        super().account_prompt(self.scripted(step))

    def judged(self, left_out: Layers, agreed: int, seen: int, ms: float, whole_ms: float) -> None:
        self.windows.append((left_out, agreed, seen))
        kept = LAYERS - len(left_out)
        super().judged(left_out, agreed, seen, self.ms(seen, kept), self.ms(seen, LAYERS))


def swift_of(engine: LayeredTable, rule: LayerSets | None = None, window: int = 8) -> Swift:
    return Swift(engine, rule or LayerSets(LAYERS, 6), window)


def tokens_of(steps) -> list[int]:
    return [token.id for step in steps for token in step.tokens]


@settings(deadline=None, max_examples=120)
@given(
    sampler=SAMPLERS,
    seed=st.integers(0, 200),
    count=st.integers(1, 60),
    context=st.integers(5, 80),
    several=st.sampled_from([0.05, 0.3, 1.0]),
    window=st.integers(2, 9),
)
def test_the_tokens_are_plains(
    sampler: Sampler, seed: int, count: int, context: int, several: float, window: int
) -> None:
    limits = Limits(count, frozenset({5}), sampler)
    plain = Plain(LayeredTable(seed, context=context)).generate(prompt_of([0, 1, 2]), limits)
    engine = LayeredTable(seed, context=context)
    strategy = swift_of(engine, Timed(several), window)
    steps = list(strategy.generate(prompt_of([0, 1, 2]), limits))
    assert tokens_of(steps) == tokens_of(plain)
    assert engine.length < 3 + len(tokens_of(steps))
    # a second answer, with what is known by then
    assert tokens_of(strategy.generate(prompt_of([0, 1, 2]), limits)) == tokens_of(steps)


def test_where_batches_are_cheap_it_drafts_and_looks_for_better_sets() -> None:
    rule = Timed(0.05)
    engine = LayeredTable(1)
    # half of the layers know nearly all
    shares = [0.0, 0.3, 0.8, 0.95, 0.98, 0.99, 1.0]
    engine._laws = [blend(law(6, 1), law(6, 1000), share) for share in shares]
    prompt, limits = prompt_of([0, 1, 2] * 4), Limits(900, sampler=Sampler(0.3))
    steps = list(swift_of(engine, rule).generate(prompt, limits))
    late = steps[len(steps) // 2 :]
    assert sum(step.accepted for step in late) > len(late) / 2
    assert rule.windows and all(
        0 not in one and LAYERS - 1 not in one for one, _, _ in rule.windows
    )
    # a window takes the draws that the answer took: some sets agree with it
    assert max(agreed for _, agreed, _ in rule.windows) > 3
    assert {token.source for step in steps for token in step.tokens} - {"large"} <= {
        f"{kept} layers" for kept in range(1, LAYERS)
    }


@pytest.mark.parametrize("several", [0.2, 0.4, 1.0])
@pytest.mark.parametrize("length", [150, 900])
def test_where_no_set_of_layers_pays_less_than_a_hundredth_is_lost(
    several: float, length: int
) -> None:
    class Lost(LayeredTable):
        """Where a layer is left out, it knows nothing."""

        def __init__(self, seed: int) -> None:
            super().__init__(seed)
            self._laws = [self._laws[0]] * LAYERS + [self._laws[LAYERS]]

    class Batched(Timed):
        """Several tokens cost hardly more than one where `several` is small."""

        def ms(self, tokens: int, layers: int) -> float:
            return self.unit * layers * (1 + self.several * (tokens - 1))

    rule = Batched(several)
    prompt, limits = prompt_of([0, 1, 2, 3] * 8), Limits(length, sampler=Sampler(0.3))
    steps = list(swift_of(Lost(2), rule).generate(prompt, limits))
    spent = sum(
        rule.ms(f.tokens, LAYERS if f.layers is None else f.layers)
        for step in steps
        for f in step.forwards
    )
    reading = rule.ms(32, LAYERS)
    plain = reading + LAYERS * (len(tokens_of(steps)) - 1)
    assert spent - plain < 0.01 * plain
    # it tries in the first answer wherever batches leave it something to win
    assert bool(sum(step.drafted for step in steps)) == (several < 1)
    assert not rule.windows


def test_the_first_trial_is_covered_by_what_it_may_lose() -> None:
    """Not by its whole time, which is more than two plain tokens."""
    account, plain_ms = SearchAccount(), 10.0
    trial_ms = 5 + 11.5  # half of the layers, and a batch that costs little
    waited = 0
    while not account.affords(trial_ms, plain_ms):
        account.wait(plain_ms)
        waited += 1
    assert 20 <= waited <= 40
    account.book(1, trial_ms, plain_ms)
    elapsed = 10 * waited + trial_ms
    expected = FIRST_CREDIT * plain_ms + SHARE * elapsed - 6.5
    assert account.balance_ms(plain_ms) == pytest.approx(expected)
    assert not account.affords(trial_ms, plain_ms)
    account.book(8, trial_ms, plain_ms)
    assert account.affords(trial_ms, plain_ms)  # a tenth of what was won pays for the next one


def test_an_error_in_mid_round_leaves_nothing_that_layers_did_not_see() -> None:
    class Failing(LayeredTable):
        left = 12

        def forward(self, tokens, *, rows: int = 1) -> Scores:
            if self._left_out:
                self.left -= 1
                if self.left == 0:
                    raise EngineError("out of memory")
            return super().forward(tokens, rows=rows)

    engine = Failing(1)
    strategy = swift_of(engine, Timed(0.05))
    written: list[int] = []
    with pytest.raises(EngineError):
        for step in strategy.generate(prompt_of([0]), Limits(600, sampler=Sampler(0.3))):
            written += [token.id for token in step.tokens]
    assert engine.length <= len(written) and engine._left_out == 0
    assert len(written) > PLAIN_TOKENS


@given(st.integers(3, 40), st.integers(0, 50))
def test_candidates_keep_the_lowest_and_the_highest_layer(layers: int, seed: int) -> None:
    rule = LayerSets(layers, 4, seed)
    for _ in range(30):
        one = rule.candidate()
        assert one and one <= set(range(1, layers - 1))
        rule.judged(one, seed % 5, 4, 1.0, 1.0)


def test_it_is_built_on_what_it_needs() -> None:
    built = build(Engines(large=LayeredTable(0)), SwiftSettings(), Aids())
    assert built.name == "swift" and built.guarantee.value == "exact"
