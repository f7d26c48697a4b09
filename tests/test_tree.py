"""The tree of proposals: order, paths, mask."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adec.tree import ROOT, TokenTree
from tests.engines.contract import random_tree


@given(st.integers(0, 10_000), st.integers(1, 20))
def test_the_mask_is_the_ancestor_relation(seed, size) -> None:
    tree = random_tree(random.Random(seed), size, 50)
    mask = tree.ancestor_mask()
    for node in range(size):
        assert [j for j in range(size) if mask[node, j]] == sorted(tree.path(node))
        assert tree.depths()[node] == len(tree.path(node)) - 1
        tree.check_path(tree.path(node))
    assert set(tree.leaves()) == {node for node in range(size) if not tree.children(node)}


def test_a_chain_is_a_tree_without_branches() -> None:
    chain = TokenTree.chain([5, 6, 7])
    assert chain.is_chain and chain.parents == [ROOT, 0, 1] and chain.leaves() == [2]
    chain.add(0, 9)
    assert not chain.is_chain


def test_wrong_parents_and_paths_are_refused() -> None:
    tree = TokenTree.chain([1, 2])
    for path in ([1], [0, 0], [2], [-1]):
        with pytest.raises(ValueError):
            tree.check_path(path)
    with pytest.raises(ValueError):
        tree.add(5, 1)
