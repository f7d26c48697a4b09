"""Trees with prompt tokens: candidates, removals, and the Markov chain of their states."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adec.decoding.heads.prompt_trees import (
    PromptTree,
    best_tree,
    by_loss,
    ends_at,
    likeliest_paths,
    plan_trees,
    stationary,
)
from adec.tree import ROOT

accuracies = st.integers(0, 10_000).map(
    lambda seed: np.sort(np.random.default_rng(seed).dirichlet(np.ones(5), 3)[:, 1:])[:, ::-1]
)
"""Three distances, four ranks, falling, with something left for all other tokens."""


@given(accuracies, st.integers(0, 3), st.integers(0, 20))
def test_candidates_are_the_likeliest_paths_of_all(accuracy, depth, most) -> None:
    found = likeliest_paths(accuracy, depth, most)
    chances = sorted(
        (
            float(np.prod([accuracy[d, j] for d, j in enumerate(path)]))
            for length in range(1, depth + 1)
            for path in product(range(4), repeat=length)
        ),
        reverse=True,
    )
    assert [chance for _, _, chance in found] == pytest.approx(chances[:most])
    for node, (parent, rank, chance) in enumerate(found):
        assert parent < node and 0 <= rank < 4
        above = 1.0 if parent == ROOT else found[parent][2]
        assert chance < above
    assert sum(ends_at(found)) == pytest.approx(1)


@given(
    st.lists(st.floats(0.01, 1), min_size=1, max_size=6),
    st.lists(st.floats(0.01, 1), min_size=1, max_size=4).map(lambda gains: sorted(gains)[::-1]),
)
def test_prompt_tokens_go_as_in_the_paper_one_by_one_where_the_loss_is_least(ends, gains) -> None:
    values = np.cumsum([0.0, *gains])
    left = [len(gains)] * len(ends)
    removed = []
    while any(left):
        losses = {n: ends[n] * gains[k - 1] for n, k in enumerate(left) if k}
        node = min(losses, key=lambda n: (losses[n], -n))
        removed.append(losses[node])
        left[node] -= 1
    assert [loss for loss, _ in by_loss(ends, values)] == pytest.approx(removed[::-1])


@given(accuracies, st.floats(0, 1), st.sampled_from([False, True]))
def test_speed_and_values_are_those_of_the_chain(accuracy, slope, fixed) -> None:
    def ms(size: int) -> float:
        return 1 + slope * (size - 1)

    plan = plan_trees(accuracy, ms, most=24, nodes=8, fixed=fixed)
    chain = np.array([tree.ends for tree in plan.trees])
    assert chain.sum(1) == pytest.approx(np.ones(4))
    times = np.array([1.0 if fixed else ms(tree.size) for tree in plan.trees])
    tokens = np.array([tree.tokens for tree in plan.trees])
    # run it for long, with the same chance that a round foresees nothing
    share = np.full(4, 0.25)
    step = 0.999 * chain
    step[:, 0] += 0.001
    for _ in range(20_000):
        share = share @ step
    assert plan.rate == pytest.approx(share @ tokens / (share @ times), rel=1e-6)
    for state, tree in enumerate(plan.trees):
        assert tree.size <= 24 and len(tree.parents) < 8
        assert tree.prompts[0] <= 3 and max(tree.prompts) <= 3
        if state == 0:
            assert tree.parents == ()
    # never slower than without drafts
    assert plan.rate >= 1 / ms(1) - 1e-9 or fixed


def test_no_plan_of_a_small_world_is_faster() -> None:
    accuracy = np.array([[0.6, 0.2]])
    trees = [PromptTree(prompts=(k,), ends=(1 - k, k)) for k in (0, 1)]
    for count in (1, 2):
        paths = likeliest_paths(accuracy, 1, count)
        ends = ends_at(paths)
        for prompts in product((0, 1), repeat=count + 1):
            carried = sum(end for end, k in zip(ends, prompts, strict=True) if k)
            trees.append(
                PromptTree(
                    (ROOT,) * count,
                    tuple(range(count)),
                    prompts,
                    1 + sum(chance for _, _, chance in paths),
                    (1 - carried, carried),
                )
            )
    for slope in (0.02, 0.1, 0.2, 0.4, 0.9):
        found = plan_trees(accuracy, lambda size, s=slope: 1 + s * (size - 1), most=6, nodes=3)
        rates = [
            stationary((first, second), [1 + slope * (t.size - 1) for t in (first, second)])[0]
            for first in trees[:2]
            for second in trees
        ]
        assert found.rate == pytest.approx(max(rates))


def test_what_a_token_costs_decides_on_the_size() -> None:
    accuracy = np.array([[0.5, 0.2, 0.1], [0.4, 0.2, 0.1], [0.3, 0.1, 0.1]])

    def plan(slope: float):
        return plan_trees(accuracy, lambda n: 1 + slope * (n - 1), most=64, nodes=64)

    free, cheap, dear, lost = plan(0), plan(0.02), plan(0.15), plan(0.8)
    assert free.trees[3].size > cheap.trees[3].size > dear.trees[3].size > 1
    assert free.rate > cheap.rate > dear.rate > lost.rate == pytest.approx(1)
    assert dear.drafts and not lost.drafts
    assert lost.trees[0].size == 1
    # a forward in which a block of eight costs the same is filled
    blocks = plan_trees(accuracy, lambda n: 1 + 0.5 * (-(-n // 8) - 1), most=64, nodes=64)
    assert {tree.size for tree in blocks.trees[1:]} == {8}


def test_a_size_is_kept_to() -> None:
    accuracy = np.array([[0.5, 0.2], [0.4, 0.2], [0.3, 0.1]])
    plan = plan_trees(accuracy, lambda n: 1.0, most=16, nodes=40, fixed=True)
    assert [tree.size for tree in plan.trees[2:]] == [16, 16]
    lone = best_tree(accuracy, 3, (0, 1, 1.5, 1.6), lambda n: 0.0, most=16, nodes=1)
    assert lone.parents == () and lone.prompts == (3,)
