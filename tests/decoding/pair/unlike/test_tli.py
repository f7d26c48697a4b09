"""Drafts from the intersection of two vocabularies keep the large model's law."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from adec.decoding.pair.accept import reject_without_replacement
from adec.decoding.pair.clock.acceptance_rate import Rates
from adec.decoding.pair.clock.cost_curve import CostCurve
from adec.decoding.pair.drafters.draws import Law
from adec.decoding.pair.drafters.growth import Growth, Room
from adec.decoding.pair.dyspec import ordered_tree
from adec.decoding.pair.unlike.tli import TliSettings, build, intersection
from adec.decoding.plain import Plain
from adec.decoding.strategy import Aids, Limits
from adec.engines.pair import Engines
from adec.engines.vocabularies.vocabulary import Vocabulary
from adec.errors import PairError
from adec.sampling import Sampler
from tests.decoding.chi_square import assert_samples_the_law
from tests.decoding.enumeration import generated, outcomes, rational_law, sequences, vector
from tests.laws import prompt_of
from tests.vocabularies import speaker, vocabularies

CURVES = {"large": CostCurve({1: 10.0, 64: 12.0}), "small": CostCurve({1: 0.1, 16: 0.2})}
OURS = Vocabulary("made-up", (b"a", b"b", b" ", b" a", b" ab", b"<end>"), end=frozenset({5}))
THEIRS = Vocabulary("made-up", (b"b", b"<end>", b"a", b" ", b"ab", b" a"), end=frozenset({1}))


@settings(max_examples=80, deadline=None)
@given(
    vocabularies(),
    vocabularies(),
    st.integers(0, 20),
    st.lists(st.integers(0, 99), min_size=1, max_size=6),
    st.sampled_from(["time", "fixed"]),
    st.sampled_from([3, 9, 200]),
    st.sampled_from([8, 200]),
)
def test_the_greedy_answer_is_the_large_models(
    ours, theirs, seed, prompt, size, small_context, context
) -> None:
    assume(intersection(ours, theirs))
    prompt = [token % len(theirs) for token in prompt]
    limits = Limits(30, theirs.end, chunk=4)

    def ids(strategy) -> list[int]:
        steps = strategy.generate(prompt_of(prompt), limits)
        return [token.id for step in steps for token in step.tokens]

    wanted = ids(Plain(speaker(theirs, seed, context=context)))
    small = speaker(ours, seed, context=small_context)
    engines = Engines(large=speaker(theirs, seed, context=context), small=small)
    strategy = build(engines, TliSettings(longest=6, size=size), Aids(curves=CURVES))
    assert ids(strategy) == wanted
    assert ids(strategy) == wanted  # a second answer begins anew


def test_a_sampled_answer_has_the_large_models_law() -> None:
    engines = Engines(large=speaker(THEIRS, 4), small=speaker(OURS, 4))
    strategy = build(engines, TliSettings(longest=3, size="fixed"), Aids())
    assert_samples_the_law(strategy, lambda: speaker(THEIRS, 4), [2, 0], Sampler(0.9))


@pytest.mark.parametrize("shared", [{0, 1, 3}, {1, 2}, {0}])
def test_rejection_against_a_restricted_draft_has_the_targets_law(shared: set[int]) -> None:
    """Of the first two tokens over whole rounds; equality of fractions."""
    size, end = 4, frozenset({3})
    draft, target = rational_law(size, 5, zeros=False), rational_law(size, 6)

    def restricted(prefix) -> Law:
        weights = draft(prefix)
        total = sum(weights[token] for token in shared)
        ids = np.array(sorted(shared))
        return Law(ids, vector([weights[token] / total for token in sorted(shared)]))

    def one_round(prefix):
        def program(chance):
            grow = Growth(3, Room(3, 1, 3), Rates())
            grown = ordered_tree(
                grow, lambda tree, node: restricted((*prefix, *tree.tokens_to(node))), chance, end
            )
            accepted = reject_without_replacement(
                grown.tree,
                grown.laws,
                lambda node: vector(target((*prefix, *grown.tree.tokens_to(node)))),
                chance,
                end,
            )
            path = tuple(grown.tree.tokens[node] for node in accepted.path)
            return path if accepted.token is None else (*path, accepted.token)

        return outcomes(program)

    found = generated(one_round, 2, end)
    assert found == sequences(target, 2, end) and sum(found.values()) == Fraction(1)


def test_the_intersection_goes_by_bytes_and_ends_by_name() -> None:
    assert intersection(OURS, THEIRS) == {0: 1, 1: 5, 2: 0, 3: 2, 5: 3}
    named = Vocabulary("x", (b"q", b"a"), end=frozenset({1}))
    # the same bytes as text and as an end token are no token in common
    assert intersection(OURS, named) == {}
    engines = Engines(large=speaker(named, 1), small=speaker(OURS, 1))
    with pytest.raises(PairError, match="no token in common"):
        build(engines, TliSettings(), Aids())


def test_a_like_model_is_accepted_more_often_than_it_would_draw_alike() -> None:
    engines = Engines(large=speaker(THEIRS, 4), small=speaker(OURS, 4))
    strategy = build(engines, TliSettings(longest=4, size="fixed"), Aids())
    drafted = accepted = 0
    for seed in range(40):
        limits = Limits(20, sampler=Sampler(1.0, seed=seed))
        for step in strategy.generate(prompt_of([2, 0]), limits):
            drafted, accepted = drafted + step.drafted, accepted + step.accepted
    assert accepted > 0.4 * drafted > 100
