"""A small model of another vocabulary: the answer is the large model's, token by token."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from adec.decoding.pair.clock.cost_curve import CostCurve
from adec.decoding.pair.drafters.by_text import SmallModelByText
from adec.decoding.pair.unlike.slem import SlemSettings
from adec.decoding.plain import Plain
from adec.decoding.registry import find_method
from adec.decoding.strategy import Aids, Limits
from adec.engines.pair import Engines
from adec.engines.vocabularies.vocabulary import Vocabulary
from adec.sampling import Sampler
from tests.laws import prompt_of
from tests.vocabularies import speaker, vocabularies

CURVES = {"large": CostCurve({1: 10.0, 64: 12.0}), "small": CostCurve({1: 0.1, 16: 0.2})}
samplers = st.builds(Sampler, temperature=st.sampled_from([0.0, 1.0]), seed=st.integers(0, 9))


def ids(strategy, prompt, limits) -> list[int]:
    steps = strategy.generate(prompt_of(prompt), limits)
    return [token.id for step in steps for token in step.tokens]


@settings(max_examples=100, deadline=None)
@given(
    vocabularies(),
    vocabularies(),
    st.integers(0, 20),
    st.sampled_from([0, 1]),
    st.lists(st.integers(0, 99), min_size=1, max_size=6),
    samplers,
    st.sampled_from(["slem", "speculate"]),
    st.sampled_from(["time", "fixed"]),
    st.sampled_from([3, 9, 200]),
    st.sampled_from([8, 200]),
)
def test_the_answer_is_the_large_models(
    ours, theirs, seed, unlike, prompt, sampler, name, size, small_context, context
) -> None:
    prompt = [token % len(theirs) for token in prompt]
    limits = Limits(30, theirs.end, sampler, chunk=4)
    wanted = ids(Plain(speaker(theirs, seed, context=context)), prompt, limits)
    small = speaker(ours, seed + unlike, context=small_context)
    engines = Engines(large=speaker(theirs, seed, context=context), small=small)
    assume(name == "slem" or not engines.share_ids)
    method = find_method(name)
    chosen = SlemSettings(longest=6, size=size) if name == "slem" else method.settings()
    strategy = method.build(engines, chosen, Aids(curves=CURVES))
    assert ids(strategy, prompt, limits) == wanted
    assert ids(strategy, prompt, limits) == wanted  # a second answer begins anew


@settings(max_examples=60, deadline=None)
@given(vocabularies(), vocabularies(), st.integers(0, 20), st.sampled_from([0, 1]), samplers)
def test_the_small_models_cache_is_its_own_reading_of_the_text(
    ours, theirs, seed, unlike, sampler
) -> None:
    small = speaker(ours, seed + unlike)
    engines = Engines(large=speaker(theirs, seed), small=small)
    strategy = find_method("slem").build(engines, SlemSettings(size="fixed"), Aids())
    drafter: SmallModelByText = strategy.chooser.drafter
    limits = Limits(20, theirs.end, sampler)
    for _ in strategy.generate(prompt_of([0, 1]), limits):
        known = drafter._words.ids
        assert list(small.tokens) == known[: small.length]
        assert small.length < max(1, len(known)) or not known


def test_models_that_write_the_same_text_agree_across_vocabularies() -> None:
    ours = Vocabulary("made-up", (b"a", b"b", b" ", b" a", b" ab"))
    theirs = Vocabulary("made-up", (b"b", b"a", b" ", b"ab", b" a", b" b"))
    engines = Engines(large=speaker(theirs, 4), small=speaker(ours, 4))
    strategy = find_method("slem").build(engines, SlemSettings(size="fixed"), Aids())
    steps = list(strategy.generate(prompt_of([0]), Limits(40)))
    drafted, accepted = sum(s.drafted for s in steps), sum(s.accepted for s in steps)
    assert accepted > 20 and accepted > 0.6 * drafted
    assert {token.source for step in steps for token in step.tokens} == {"small", "large"}


@pytest.mark.parametrize("name", ["dyspec", "cascade"])
def test_what_compares_laws_token_by_token_is_not_for_unlike_vocabularies(name) -> None:
    assert not find_method(name).by_text
