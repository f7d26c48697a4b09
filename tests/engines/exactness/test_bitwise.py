"""An engine that runs only what was measured to be bit for bit plain decoding."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adec.engines.exactness.bitwise import BitwiseEngine
from adec.engines.exactness.invariance import Invariance, Reach, measure_invariance
from adec.engines.table import TableEngine
from adec.errors import EngineError
from adec.tree import ROOT, TokenTree
from tests import laws
from tests.engines.contract import EngineContract, random_tree
from tests.engines.shaped import ShapedTable

LAW = laws.law(6, 3)


def shaped(chains=(2, 3), trees=(2, 3, 4), reach=10_000, rivals=10_000, **options) -> ShapedTable:
    engine = ShapedTable(LAW, size=6, **options)
    engine.chains, engine.trees, engine.reach, engine.rivals = chains, trees, reach, rivals
    return engine


@cache
def found_of(chains, trees, reach, rivals) -> Invariance:
    return measure_invariance(
        shaped(chains, trees, reach, rivals), [0, 1, 2], [3, 4, 0, 1], reach=40
    )


@pytest.mark.parametrize("known", ["all", "nothing", "gaps"])
class TestBitwiseContract(EngineContract):
    """Whatever it plans within, it is an engine like all others."""

    @pytest.fixture
    def fresh(self, known: str):
        sizes = {"all": tuple(range(2, 65)), "nothing": (), "gaps": (2, 5, 16)}[known]
        found = Invariance((Reach(40, sizes, sizes), Reach(4096, sizes[:1], ())), (0.0,) * 4)

        def make():
            engine = BitwiseEngine(TableEngine(LAW, size=6))
            engine.plan_within(found)
            return engine

        return make


def plain_rows(engine, prompt, answer, chunk) -> tuple[list[bytes], list[int]]:
    """The rows of plain decoding, and the marks that its cache has in the end."""
    for at in range(0, len(prompt), chunk):
        scores = engine.forward(prompt[at : at + chunk])
    rows = [np.asarray(scores.row(0)).tobytes()]
    for token in answer:
        rows.append(np.asarray(engine.forward([token]).row(0)).tobytes())
    return rows, engine.marks


sizes = st.sampled_from([(), (2, 3), (2, 3, 4, 5, 6, 8, 12, 16), (2, 5, 8), (4,)])


@settings(max_examples=80, deadline=None)
@given(
    sizes,
    sizes,
    st.sampled_from([10_000, 300, 20]),
    st.sampled_from([10_000, 30]),
    st.integers(1, 12),
    st.sampled_from([3, 4, 256]),
    st.randoms(use_true_random=False),
)
def test_every_row_is_that_of_plain_decoding_whatever_is_asked(
    chains, trees, reach, rivals, count, chunk, rng
) -> None:
    """Chains and trees of any shape, kept or taken back, and prompts in any pieces."""
    inner = shaped(chains, trees, reach, rivals)
    engine = BitwiseEngine(inner)
    engine.plan_within(found_of(chains, trees, reach, rivals))
    prompt = [rng.randrange(6) for _ in range(count)]
    answer = [rng.randrange(6) for _ in range(40)]
    rows, marks = plain_rows(shaped(chains, trees, reach, rivals), prompt, answer, chunk)
    engine.begin(prompt, chunk)
    engine.rewind(0)
    at = 0
    while at < count:
        # as methods do that read the prompt in pieces of their own
        size = rng.randint(1, count - at)
        scores = engine.forward(prompt[at : at + size], rows=rng.choice([0, 1, size]))
        at += size
    place = 0
    while place < len(answer):
        more = answer[place : place + rng.randint(1, 9)]
        if rng.random() < 0.5:
            scores = engine.forward(more, rows=len(more))
            path = list(range(len(more)))
        else:
            tree = random_tree(rng, rng.randint(1, 6), 6)
            path, above = [], ROOT
            for token in more:
                below = [n for n in tree.children(above) if tree.tokens[n] == token]
                above = below[0] if below else tree.add(above, token)
                path.append(above)
            if len(tree.leaves()) > 8:
                continue
            scores = engine.forward_tree(tree)
        for number, node in enumerate(path, 1):
            assert np.asarray(scores.row(node)).tobytes() == rows[place + number]
        if engine.length == count + place:
            standing = rng.randint(0, len(path))
            engine.keep(path[:standing])
            place += standing
        else:
            back = rng.randint(0, len(more) - 1)
            engine.rewind(engine.length - back)
            place += len(more) - back
        assert engine.length == count + place
        assert inner.marks == marks[: count + place]


def test_it_says_what_fits_into_one_forward() -> None:
    engine = BitwiseEngine(shaped())
    assert (engine.at_once, engine.branches) == (1, 1), "nothing was measured"
    engine.plan_within(Invariance((Reach(20, (2, 3), (2,)), Reach(40, (2,), ())), (0.0,) * 4))
    engine.begin([0, 1, 2], 256)
    assert engine.at_once == 3 + 2, "the prompt comes first"
    engine.forward([0, 1, 2])
    assert (engine.at_once, engine.branches) == (2, 8)
    engine.forward([0] * 16)
    assert (engine.at_once, engine.branches) == (2, 1), "beyond 20 tokens trees were not"
    engine.forward([0] * 20)
    assert engine.at_once == 1


def test_what_waits_for_its_piece_counts_and_comes_back() -> None:
    inner = shaped()
    engine = BitwiseEngine(inner)
    engine.begin([0, 1, 2, 3, 4], 4)
    engine.forward([0, 1], rows=0)
    assert (engine.length, inner.length) == (2, 0)
    assert engine.common([0, 1, 2]) == 2 and engine.common([0, 2]) == 1
    with pytest.raises(EngineError, match="vocabulary"):
        engine.forward([9])
    engine.rewind(1)
    engine.forward([1, 2, 3], rows=0)
    assert engine.length == inner.length == 4
    engine.rewind(3)
    assert (engine.length, inner.length) == (3, 0), "a piece cut in two is read anew"
    engine.forward([3, 4, 0])
    assert inner.tokens == (0, 1, 2, 3, 4, 0)
    assert inner.fed[-3:] == [[0, 1, 2, 3], [4], [0]]


def test_a_measurement_finds_the_sizes_of_each_reach() -> None:
    found = measure_invariance(shaped((2, 3, 8), (2, 4), reach=300), [0, 1, 2], [3, 4])
    assert [reach.length for reach in found.reaches] == [256, 512]
    assert found.reaches[0].chains == (2, 3, 8) and found.reaches[0].trees == (2, 4)
    assert found.reaches[1].chains == found.reaches[1].trees == ()
    assert found.most > 0


def test_a_tree_that_waits_is_dropped_by_the_next_answer() -> None:
    engine = BitwiseEngine(shaped())
    engine.forward([0, 1])
    engine.forward_tree(TokenTree.chain([2, 3]))
    engine.begin([0, 1, 2], 256)
    engine.rewind(2)
    assert engine.length == 2
