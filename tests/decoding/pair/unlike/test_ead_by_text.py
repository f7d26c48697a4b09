"""EAD across vocabularies: text changes hands where tokens of both models end."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from adec.decoding.pair.ead import EadSettings
from adec.decoding.pair.unlike.ead_by_text import EadByText, EadLoopByText, VerifiedEadLoopByText
from adec.decoding.plain import Plain
from adec.decoding.strategy import Limits
from adec.engines.vocabularies.retokenise import Retokeniser
from adec.engines.vocabularies.vocabulary import Vocabulary
from adec.events.records import Guarantee
from adec.sampling import Sampler
from tests.laws import prompt_of
from tests.vocabularies import speaker, vocabularies

samplers = st.builds(Sampler, temperature=st.sampled_from([0.0, 1.0]), seed=st.integers(0, 9))
ead_settings = st.builds(
    EadSettings,
    up=st.sampled_from([0.3, 1.0, 1.4, 9.0]),
    down=st.sampled_from([None, 0.3, 9.0]),
    window=st.integers(1, 3),
    dwell=st.integers(0, 3),
    accept=st.sampled_from(["none", "exact", "tolerant"]),
    share=st.sampled_from([0.2, 1.0]),
    longest=st.integers(1, 9),
)
SPACED = Vocabulary("made-up", (b"a", b"b", b" ", b" a", b" ab", b"ba"))
OTHER = Vocabulary("made-up", (b"b", b"a", b" ", b"ab", b" a", b" b", b" ba"))


def ids(strategy, prompt, limits) -> list[int]:
    steps = strategy.generate(prompt_of(prompt), limits)
    return [token.id for step in steps for token in step.tokens]


@settings(max_examples=60, deadline=None)
@given(
    vocabularies(),
    vocabularies(),
    st.integers(0, 20),
    st.lists(st.integers(0, 99), min_size=1, max_size=6),
    samplers,
    ead_settings,
    st.sampled_from([3, 20, 200]),
    st.sampled_from([12, 200]),
)
def test_it_ends_within_its_limits_and_exact_is_the_large_models_answer(
    ours, theirs, seed, prompt, sampler, chosen, small_context, context
) -> None:
    prompt = [token % len(theirs) for token in prompt]
    limits = Limits(25, theirs.end, sampler, chunk=4)
    large = speaker(theirs, seed, context=context)
    strategy = EadByText(speaker(ours, seed + 1, context=small_context), large, chosen)
    found = ids(strategy, prompt, limits)
    whole = len(found) == min(25, context - len(prompt)) or (found and found[-1] in theirs.end)
    assert whole and not set(found[:-1]) & theirs.end
    assert ids(strategy, prompt, limits) == found  # a second answer begins anew
    if strategy.guarantee is Guarantee.EXACT:
        wanted = ids(Plain(speaker(theirs, seed, context=context)), prompt, limits)
        assert found == wanted


@settings(max_examples=40, deadline=None)
@given(vocabularies(), vocabularies(), st.integers(0, 20), ead_settings)
def test_the_small_models_cache_is_a_text_that_the_answer_begins_with(
    ours, theirs, seed, chosen
) -> None:
    small, large = speaker(ours, seed), speaker(theirs, seed + 1)
    kind = EadLoopByText if chosen.accept == "none" else VerifiedEadLoopByText
    loop = kind(small, large, chosen, prompt_of([0, 1]), Limits(20, theirs.end))
    for _ in loop.run():
        text = [*loop._words.ids, *loop._waiting]
        # what no longer stands is taken out before the next forward
        assert loop._changed or list(small.tokens) == text[: small.length]


def test_a_small_model_that_is_always_sure_writes_whole_words_by_itself() -> None:
    small, large = speaker(SPACED, 4), speaker(OTHER, 5)
    found = ids(EadByText(small, large, EadSettings(up=100.0)), [0], Limits(30))
    alone = ids(Plain(speaker(SPACED, 4)), [1], Limits(60))
    texts = [
        b"".join(vocabulary.pieces[token] for token in tokens)
        for vocabulary, tokens in ((OTHER, found), (SPACED, alone))
    ]
    assert large.length == 0 and len(found) == 30
    assert texts[1].startswith(texts[0])


def test_the_large_model_hands_back_only_where_the_small_models_tokens_end() -> None:
    changes = 0
    for seed in range(12):
        large, chosen = speaker(OTHER, seed), EadSettings(up=1.2, window=1, dwell=0)
        strategy = EadByText(speaker(SPACED, seed), large, chosen)
        steps = list(strategy.generate(prompt_of([0]), Limits(40)))
        tokens = [token for step in steps for token in step.tokens]
        small = speaker(SPACED, seed)
        for at, (before, after) in enumerate(pairwise(tokens), 1):
            if (before.source, after.source) == ("large", "small"):
                changes += 1
                words = Retokeniser(small, large)
                words.read([0, *(token.id for token in tokens[:at])])
                small.rewind(0)
                likely = small.forward(words.ids).argmax(0)
                assert words.stands_before(SPACED.pieces[likely])
    assert changes > 3


def test_a_token_is_described_by_the_small_models_rows_of_all_that_it_spells() -> None:
    small, large = speaker(SPACED, 4), speaker(OTHER, 5)
    steps = list(
        EadByText(small, large, EadSettings(up=100.0)).generate(prompt_of([0]), Limits(20))
    )
    tokens = [token for step in steps for token in step.tokens]
    assert all(token.source == "small" for token in tokens)
    described = [token for token in tokens if token.entropy is not None]
    assert described and all(0 < (token.probability or 0) <= 1 for token in described)
