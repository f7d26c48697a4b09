"""Counted acceptance: only what was judged counts."""

from __future__ import annotations

import random

import pytest

from adec.decoding.pair.clock.acceptance_rate import Rates, expected_tokens
from adec.tree import TokenTree


def test_rates_begin_with_the_drafters_probability_and_end_with_the_facts() -> None:
    rates = Rates()
    assert rates.accepted(0.75, 0) == pytest.approx(0.75)
    rng = random.Random(1)
    for _ in range(400):
        rates.observe(0.75, 0, 0, rng.random() < 0.3)
    assert rates.accepted(0.75, 0) == pytest.approx(0.3, abs=0.12)
    assert rates.accepted(0.35, 0) == pytest.approx(0.35)  # another bin
    rates.soften()
    for _ in range(8):
        rates.observe(0.75, 0, 0, True)
    assert rates.accepted(0.75, 0) > 0.6


def test_what_was_not_judged_is_not_counted() -> None:
    """Below the first rejection nothing is known: counting it as rejected would halve the estimate
    here.
    """
    rng = random.Random(2)
    honest = Rates()
    for _ in range(600):
        chain = TokenTree.chain([0] * 6)
        path = []
        while len(path) < 6 and rng.random() < 0.8:
            path.append(len(path))
        honest.observe_judged(chain, [0.85] * 6, path, in_order=False)
    for depth in range(5):
        assert honest.at_depth(depth) == pytest.approx(0.8, abs=0.13)


def test_siblings_after_the_accepted_one_are_judged_only_when_following() -> None:
    tree = TokenTree([1, 2, 3], [-1, -1, -1], [None] * 3)
    chances = [0.5, 0.3, 0.15]

    class Seen(Rates):
        def __init__(self):
            super().__init__()
            self.seen = []

        def observe(self, chance, depth, rank, accepted):
            self.seen.append((rank, accepted))

    following, in_order = Seen(), Seen()
    following.observe_judged(tree, chances, [1], in_order=False)
    in_order.observe_judged(tree, chances, [1], in_order=True)
    assert following.seen == [(0, False), (1, True), (2, False)]
    assert in_order.seen == [(0, False), (1, True)]


def test_a_tree_that_was_not_tried_is_judged_by_what_was_committed_instead() -> None:
    #  1 -> 2 -> 3, and 4 beside 1
    tree = TokenTree([1, 4, 2, 3], [-1, -1, 0, 2], [None] * 4)
    cases = {
        (): [],
        (1,): [(0, 0, True), (0, 1, False)],
        (4, 2): [(0, 0, False), (0, 1, True)],
        (1, 2, 9): [(0, 0, True), (0, 1, False), (1, 0, True), (2, 0, False)],
        (9, 2): [(0, 0, False), (0, 1, False)],
    }
    for committed, expected in cases.items():
        seen = []
        rates = Rates()
        rates.observe = lambda chance, *what, seen=seen: seen.append(what)
        rates.observe_untried(tree, [0.5, 0.3, 0.9, 0.9], committed)
        assert seen == expected


def test_expected_tokens_of_a_chain() -> None:
    assert expected_tokens([0.5, 0.5]) == [1, 1.5, 1.75]
