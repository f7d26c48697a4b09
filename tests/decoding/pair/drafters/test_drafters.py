"""What each drafter proposes, and what it learns."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adec.decoding.meter import Meter
from adec.decoding.pair.clock.acceptance_rate import Rates
from adec.decoding.pair.drafters.drafter import Accepted, Outcome, empty
from adec.decoding.pair.drafters.draws import HEAD, SeededChance, law_of
from adec.decoding.pair.drafters.growth import Growth, Room
from adec.decoding.pair.drafters.ngram import NgramMatching
from adec.decoding.pair.drafters.small_model import SmallModel
from adec.decoding.pair.dyspec import SampledTree
from adec.decoding.pair.model_free.aded import MOST, REINFORCE, TriGrams, TriGramSearch
from adec.decoding.pair.model_free.recycling import KEPT, Recycling
from adec.decoding.strategy import Limits
from adec.engines.table import TableEngine
from adec.sampling import Sampler
from adec.signals import ArrayScores, likeliest
from tests.laws import law


def fixed(nodes: int = 40, *, leaves: int = 8, depth: int = 40) -> Growth:
    return Growth(nodes, Room(256, leaves, depth), Rates())


def started(drafter, prompt, limits=None):
    for _ in drafter.start(prompt, limits or Limits(0)):
        pass
    return drafter


def paths(tree) -> set[tuple[int, ...]]:
    return {tuple(tree.tokens[i] for i in tree.path(node)) for node in range(len(tree))}


def grows(drafter, sequence, committed) -> None:
    """Tell a drafter that tokens were committed without its help."""
    whole = [*sequence, *committed]
    scores = ArrayScores(np.zeros((1, 10), dtype=np.float32))
    drafter.learn(Outcome(empty(), Accepted((), 0, True), whole, len(sequence), scores))


# ---- laws of rows


@given(
    st.one_of(st.integers(1, 700), st.integers(8100, 8300)),
    st.integers(1, 80),
    st.integers(0, 10_000),
    st.sampled_from([1.0, 0.01]),
    st.booleans(),
)
def test_the_likeliest_tokens_are_those_of_a_full_sort(size, count, seed, scale, holes) -> None:
    rng = np.random.default_rng(seed)
    row = np.round(rng.normal(size=size) * scale, 2).astype(np.float32)  # many equals
    if holes:
        row[rng.random(size) < 0.5] = -np.inf
        row[int(rng.integers(size))] = 0.0
    order = np.lexsort((np.arange(size), -row))
    order = order[np.isfinite(row[order])]
    assert likeliest(row, count).tolist() == order[:count].tolist()


@given(
    st.integers(2, 60),
    st.integers(0, 1000),
    st.sampled_from([0.5, 1.0, 2.0]),
    st.sampled_from([0, 1, 5]),
    st.sampled_from([1.0, 0.7]),
    st.sampled_from([0.0, 0.2]),
)
def test_a_law_is_the_samplers_distribution(size, seed, temperature, top_k, top_p, min_p) -> None:
    """For a vocabulary that fits into it whole: every warper, in the sampler's order."""
    assert size <= HEAD
    row = np.random.default_rng(seed).normal(size=size).astype(np.float32) * 2
    sampler = Sampler(temperature, top_k, top_p, min_p)
    law_ = law_of(row, sampler)
    dense = np.zeros(size)
    dense[law_.ids] = law_.probabilities
    assert dense == pytest.approx(sampler.distribution(row), abs=1e-6)
    assert (np.diff(law_.ids) > 0).all()


def test_draws_of_a_round_differ_from_those_of_the_next() -> None:
    weights = np.ones(1000)
    rounds = [(seed, position) for seed in range(20) for position in range(20)]
    draws = {SeededChance(seed, position).draw(weights) for seed, position in rounds}
    assert len(draws) > 300


# ---- tri-grams


def test_tri_grams_are_shares_then_reinforced_to_a_bound() -> None:
    table = TriGrams()
    table.build([1, 2, 3, 1, 2, 3, 1, 2, 4])
    assert table.row(1, 2) == [(3, pytest.approx(2 / 3)), (4, pytest.approx(1 / 3))]
    for _ in range(10):
        table.reinforce([1, 2, 4])
    assert table.row(1, 2)[0] == (4, pytest.approx(1 / 3 + 10 * REINFORCE))
    for _ in range(200):
        table.reinforce([1, 2, 4])
    assert table.row(1, 2)[0] == (4, MOST)
    assert table.row(9, 9) == []


def test_the_search_finds_the_heavy_path_and_its_rivals() -> None:
    text = [1, 2, 3, 4, 5, 6] * 4 + [1, 2, 7, 8, 9, 1, 2]
    drafter = started(TriGramSearch(), text)
    proposal = drafter.propose(text, fixed(), Meter())
    assert {(3,), (3, 4), (3, 4, 5), (3, 4, 5, 6), (7,), (7, 8)} <= paths(proposal.tree)
    assert max(proposal.tree.depths()) <= 3  # three searched, one greedy
    assert proposal.tree.tokens[0] == 3 and set(proposal.sources) == {"ngram"}


def test_the_search_proposes_nothing_it_has_not_seen() -> None:
    drafter = started(TriGramSearch(), [1, 2, 3])
    assert len(drafter.propose([1, 2, 3], fixed(), Meter())) == 0
    assert len(started(TriGramSearch(), [1]).propose([1], fixed(), Meter())) == 0


def test_a_search_can_be_repeated() -> None:
    text = [int(x) for x in np.random.default_rng(0).integers(0, 4, 200)]
    one, two = (started(TriGramSearch(), text).propose(text, fixed(), Meter()) for _ in range(2))
    assert (one.tree.tokens, one.tree.parents) == (two.tree.tokens, two.tree.parents)


# ---- token recycling


def test_rows_of_rejected_branches_are_recycled_too() -> None:
    drafter = started(Recycling(), [0, 1])
    first = drafter.propose([0, 1, 0], fixed(1), Meter())
    assert first.tree.tokens == [1]
    rows = np.full((2, 20), -9.0, dtype=np.float32)
    rows[0, [5, 6]] = 3.0, 2.0
    rows[1, [7, 8]] = 3.0, 2.0
    outcome = Outcome(first, Accepted((), 5, False), [0, 1, 0, 5], 3, ArrayScores(rows))
    drafter.learn(outcome)
    after_zero = drafter.propose([0, 1, 0, 0], fixed(20, depth=2), Meter())
    assert {(5,), (6,)} <= paths(after_zero.tree)
    after_one = drafter.propose([0, 1, 0, 1], fixed(20, depth=1), Meter())
    assert after_one.tree.tokens[:2] == [7, 8]
    assert len(after_one.tree) == KEPT


def test_a_token_without_a_row_has_its_successor_in_the_prompt() -> None:
    drafter = started(Recycling(), [3, 4, 3, 5])
    assert drafter.propose([3], fixed(2, depth=1), Meter()).tree.tokens == [5, 4]
    assert len(drafter.propose([9], fixed(), Meter())) == 0


# ---- prompt lookup


def test_the_longest_n_gram_counts() -> None:
    text = [9, 1, 2, 3, 7, 4, 2, 3, 8, 5, 3, 6, 1, 2, 3]
    drafter = started(NgramMatching(), text)
    assert drafter.propose(text, fixed(1), Meter()).tree.tokens == [7]


def test_matches_shorter_than_asked_for_are_none() -> None:
    text = [1, 2, 3, 4, 2, 5, 2]
    assert len(started(NgramMatching(least=2), text).propose(text, fixed(), Meter())) == 0
    found = started(NgramMatching(least=1), text).propose(text, fixed(1), Meter())
    assert len(found) == 1


def test_prompt_lookup_takes_the_latest_place() -> None:
    text = [1, 2, 3, 1, 2, 4, 5, 6, 1, 2]
    drafter = started(NgramMatching(), text)
    assert drafter.propose(text, fixed(4, leaves=1), Meter()).tree.tokens == [4, 5, 6, 1]


def test_the_output_is_text_too_and_a_new_answer_forgets_it() -> None:
    drafter = started(NgramMatching(), [1, 2])
    grows(drafter, [1, 2], [3, 1, 2])
    assert drafter.propose([1, 2, 3, 1, 2], fixed(1), Meter()).tree.tokens == [3]
    started(drafter, [1, 2])
    assert len(drafter.propose([1, 2], fixed(), Meter())) == 0


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.integers(1, 3))
def test_a_draft_goes_on_as_the_text_once_did_and_past_its_end_as_the_draft(text, least) -> None:
    """Some earlier place matches `least` tokens, and text and draft together go on there as they do
    here.
    """
    drafter = started(NgramMatching(least=least), text)
    proposal = drafter.propose(text, fixed(12), Meter())
    for path in paths(proposal.tree):
        whole = [*text, *path]
        needed = whole[len(text) - least :]
        assert any(
            whole[place : place + len(needed)] == needed for place in range(len(text) - least)
        )


def test_a_text_that_repeats_itself_is_drafted_past_its_end() -> None:
    drafter = NgramMatching()
    list(drafter.start([5, 7, 1, 2, 3, 1, 2, 3, 1, 2], Limits(0)))
    growth = Growth(8, Room(8, 1, 8), Rates())
    assert drafter.propose([], growth, None).tree.tokens == [3, 1, 2, 3, 1, 2, 3, 1]


@given(st.lists(st.integers(0, 2), max_size=60))
def test_the_streak_is_what_a_copy_has_run_for(tokens) -> None:
    drafter = NgramMatching()
    list(drafter.start([], Limits(0)))
    for place in range(len(tokens)):
        drafter.extend(tokens[place : place + 1])
        text = tokens[: place + 1]
        longest = max(
            (
                n
                for n in range(place + 1)
                if any(text[i : i + n] == text[place + 1 - n :] for i in range(place + 1 - n))
            ),
            default=0,
        )
        assert drafter.streak <= longest
    again = [0, 1, 2, 0, 2, 1, 1, 0, 2, 2]
    list(drafter.start(again, Limits(0)))
    for count, token in enumerate(again):
        drafter.extend([token])
        assert drafter.streak == max(0, count - 1)


# ---- the small model


DRAFTERS = {
    "likeliest": SmallModel,
    "ordered": SampledTree,
    "layers": lambda engine: SampledTree(engine, threshold=0.02),
}


@pytest.mark.parametrize("shape", DRAFTERS)
@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_a_tree_of_the_small_model_is_read_with_the_right_prefixes(shape, temperature) -> None:
    """Every row kept is the row of its node's own prefix, however the engine moved in between."""
    distribution = law(8, 4, sharpness=2.0)
    engine = TableEngine(distribution, size=8)
    drafter = DRAFTERS[shape](engine)
    prompt = [0, 1, 2]
    started(drafter, prompt, Limits(0, sampler=Sampler(temperature, seed=5)))
    meter = Meter()
    proposal = drafter.propose(prompt, fixed(12, leaves=4, depth=5), meter)
    assert (shape == "likeliest") == (not proposal.tree.sampled_in_order)
    assert len(proposal.tree) >= 3 if temperature or shape == "likeliest" else True
    for node, (scores, row) in proposal.rows.items():
        prefix = (*prompt, *(proposal.tree.tokens[i] for i in proposal.tree.path(node)))
        wanted = np.log(np.array(distribution(prefix))).astype(np.float32)
        assert scores.row(row) == pytest.approx(wanted, abs=1e-5)
    assert sum(f.tokens for f in meter.forwards) == sum(map(len, engine.fed)) - 2
    for children in map(proposal.tree.children, range(-1, len(proposal.tree))):
        tokens = [proposal.tree.tokens[child] for child in children]
        assert len(set(tokens)) == len(tokens)


def test_layers_cost_one_forward_each() -> None:
    engine = TableEngine(law(8, 4, sharpness=2.0), size=8)
    drafter = SampledTree(engine, threshold=0.05)
    started(drafter, [0, 1], Limits(0, sampler=Sampler(1.0)))
    meter = Meter()
    proposal = drafter.propose([0, 1], fixed(14, leaves=8, depth=3), meter)
    assert len(proposal.tree) > 4
    assert len(meter.forwards) <= 3
