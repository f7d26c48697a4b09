"""Exactness, proved: the law of every verifier is enumerated with fractions and equals the
target's.
"""

from __future__ import annotations

import itertools
from collections import Counter
from fractions import Fraction

import pytest

from adec.decoding.pair.accept import follow_the_target, reject_without_replacement
from adec.decoding.pair.bild import roll_back
from adec.decoding.pair.cascade import follow_the_mixture
from adec.decoding.pair.clock.acceptance_rate import Rates
from adec.decoding.pair.clock.cost_curve import CostCurve
from adec.decoding.pair.clock.timed_growth import TimedGrowth
from adec.decoding.pair.drafters.draws import Law
from adec.decoding.pair.drafters.growth import Growth, Room
from adec.decoding.pair.drafters.shapes import best_first
from adec.decoding.pair.dyspec import DySpecSettings, layered_tree, ordered_tree
from adec.decoding.pair.fly import match_loosely
from adec.decoding.registry import find_method
from adec.decoding.strategy import Aids
from adec.engines.pair import Engines
from adec.engines.table import TableEngine
from adec.sampling import Sampler
from adec.tree import ROOT, TokenTree
from tests.decoding.chi_square import assert_samples_the_law
from tests.decoding.enumeration import (
    blend,
    generated,
    outcomes,
    rational_law,
    sequences,
    vector,
    warped,
)
from tests.laws import law as float_law

WARPERS = {
    "none": {},
    "top-k": {"top_k": 2},
    "top-p": {"top_p": Fraction(7, 10)},
    "min-p, cooler": {"min_p": Fraction(1, 4), "power": 2},
    "all": {"top_k": 3, "top_p": Fraction(9, 10), "min_p": Fraction(1, 10), "power": 2},
}


def laws(size: int, seed: int, warper: str, likeness=Fraction(1, 2)):
    """(draft, target) with the same warpers on both sides."""
    target = rational_law(size, seed)
    draft = blend(target, rational_law(size, seed + 1000), likeness)
    return warped(draft, **WARPERS[warper]), warped(target, **WARPERS[warper])


def growth(kind: str, nodes: int, depth: int, leaves: int):
    room = Room(nodes=nodes, leaves=leaves, depth=depth)
    if kind == "fixed":
        return Growth(nodes, room, Rates())
    curve = CostCurve({1: 10.0, 2: 11.0, 3: 12.0, 4: 18.0})
    return TimedGrowth(curve, unread=1, own_ms=0.1, room=room, rates=Rates(), most=nodes)


def sparse(distribution) -> Law:
    """A law of those tokens that can be drawn."""
    import numpy as np

    ids = [token for token, p in enumerate(distribution) if p]
    return Law(np.array(ids), vector([distribution[token] for token in ids]))


def prefix_of(tree: TokenTree, node: int) -> tuple[int, ...]:
    return tuple(tree.tokens[i] for i in tree.path(node))


def sampled_tree(shape: str, draft, prefix, grow, chance, end) -> tuple[TokenTree, dict[int, Law]]:
    def law_of(tree, node):
        return sparse(draft((*prefix, *prefix_of(tree, node))))

    if shape == "greedy":
        grown = ordered_tree(grow, law_of, chance, end)
    else:
        grown = layered_tree(
            grow, lambda tree, nodes: [law_of(tree, n) for n in nodes], 0.12, chance, end
        )
    return grown.tree, grown.laws


def committed(tree, accepted) -> tuple[int, ...]:
    path = tuple(tree.tokens[node] for node in accepted.path)
    return path if accepted.token is None else (*path, accepted.token)


CASES = [
    # shape, vocabulary, nodes, depth, leaves
    ("greedy", 3, 3, 3, 1),
    ("greedy", 3, 3, 2, 3),
    ("greedy", 4, 3, 2, 2),
    ("greedy", 5, 2, 2, 2),
    ("layers", 3, 3, 2, 3),
    ("layers", 4, 3, 2, 2),
    ("layers", 3, 3, 3, 1),
]


@pytest.mark.parametrize("budget", ["fixed", "timed"])
@pytest.mark.parametrize("warper", WARPERS)
@pytest.mark.parametrize(("shape", "size", "nodes", "depth", "leaves"), CASES)
def test_rejection_without_replacement_has_the_targets_law(
    shape, size, nodes, depth, leaves, warper, budget
) -> None:
    """Of the first two tokens, over whole rounds, an end token included; equality of fractions."""
    end = frozenset({size - 1})
    draft, target = laws(size, 7 * size + nodes, warper)

    def one_round(prefix):
        def program(chance):
            grow = growth(budget, nodes, depth, leaves)
            tree, by_node = sampled_tree(shape, draft, prefix, grow, chance, end)
            accepted = reject_without_replacement(
                tree,
                by_node,
                lambda node: vector(target((*prefix, *prefix_of(tree, node)))),
                chance,
                end,
            )
            return committed(tree, accepted)

        return outcomes(program)

    assert generated(one_round, 2, end) == sequences(target, 2, end)


def test_rejection_accepts_everything_where_the_laws_agree() -> None:
    """Equal laws leave no residual mass: every coin is certain."""
    draft, _ = laws(4, 1, "none")
    end = frozenset()

    def program(chance):
        tree, by_node = sampled_tree("greedy", draft, (), growth("fixed", 3, 3, 1), chance, end)
        accepted = reject_without_replacement(
            tree, by_node, lambda node: vector(draft(prefix_of(tree, node))), chance, end
        )
        return len(accepted.path), accepted.bonus

    assert outcomes(program) == {(3, True): 1}


def test_a_token_that_the_target_forbids_is_never_accepted() -> None:
    draft, target = (lambda prefix: [Fraction(1, 2), Fraction(1, 2), 0]), lambda prefix: [0, 0, 1]
    end = frozenset()

    def program(chance):
        tree, by_node = sampled_tree("greedy", draft, (), growth("fixed", 2, 1, 2), chance, end)
        accepted = reject_without_replacement(
            tree, by_node, lambda node: vector(target(())), chance, end
        )
        return committed(tree, accepted)

    assert outcomes(program) == {(2,): 1}


def chosen_tree(draft, prefix, nodes: int, leaves: int, end) -> TokenTree:
    """The likeliest tokens, not sampled."""

    def successors(tree, node):
        row = draft((*prefix, *prefix_of(tree, node)))
        ranked = sorted(range(len(row)), key=lambda t: (-row[t], t))
        return [(t, float(row[t])) for t in ranked if row[t] > 0]

    return best_first(growth("fixed", nodes, 3, leaves), successors, end).tree


def test_rejection_refuses_trees_that_were_not_sampled_in_order() -> None:
    draft, target = laws(4, 3, "none")
    tree = chosen_tree(draft, (), 3, 3, frozenset())
    with pytest.raises(ValueError, match="sampled in order"):
        reject_without_replacement(tree, {}, lambda node: vector(target(())), None, frozenset())


def test_the_refusal_is_needed() -> None:
    """The same rule on a tree of the likeliest tokens, passed off as sampled, is far from the
    target's law.
    """
    draft, target = laws(4, 3, "none")
    tree = chosen_tree(draft, (), 3, 3, frozenset())
    tree.sampled_in_order = True
    by_node = {n: sparse(draft(prefix_of(tree, n))) for n in (ROOT, *range(len(tree)))}

    def program(chance):
        accepted = reject_without_replacement(
            tree, by_node, lambda node: vector(target(prefix_of(tree, node))), chance, frozenset()
        )
        return committed(tree, accepted)[0]

    found, wanted = outcomes(program), target(())
    distance = sum(abs(found.get(t, 0) - p) for t, p in enumerate(wanted)) / 2
    assert distance > Fraction(1, 20)


def all_trees(nodes: int, size: int):
    """Every tree of that many nodes whose siblings differ."""
    for parents in itertools.product(*(range(-1, i) for i in range(nodes))):
        for tokens in itertools.product(range(size), repeat=nodes):
            pairs = list(zip(parents, tokens, strict=True))
            if len(set(pairs)) == nodes:
                yield TokenTree(list(tokens), list(parents), [None] * nodes)


def following(tree, target, prefix, end):
    def program(chance):
        accepted = follow_the_target(
            tree,
            lambda node, depth: chance.draw(vector(target((*prefix, *prefix_of(tree, node))))),
            end,
        )
        return committed(tree, accepted)

    return outcomes(program)


def test_following_the_target_has_its_law_for_every_tree() -> None:
    """Every tree of up to three nodes over three tokens, one of them an end token: 1 + 3 + 15 + 105
    trees.
    """
    end = frozenset({2})
    target = rational_law(3, 5, zeros=False)
    trees = [tree for nodes in range(4) for tree in all_trees(nodes, 3)]
    assert len(trees) == 1 + 3 + 15 + 105
    wanted = sequences(target, 2, end)
    for tree in trees:
        law = generated(lambda prefix, tree=tree: following(tree, target, prefix, end), 2, end)
        assert law == wanted


@pytest.mark.parametrize("warper", WARPERS)
@pytest.mark.parametrize("size", [3, 4, 5])
def test_following_the_target_on_chosen_trees_with_warpers(size, warper) -> None:
    end = frozenset({0})
    draft, target = laws(size, size, warper)

    def one_round(prefix):
        tree = chosen_tree(draft, prefix, 5, 3, end)
        return following(tree, target, prefix, end)

    assert generated(one_round, 3, end) == sequences(target, 3, end)


@pytest.mark.parametrize("trusted", ["never", "always", "sometimes"])
def test_a_cascade_has_the_law_of_its_mixture(trusted) -> None:
    """The small model's law where the rule trusts it, the large one's elsewhere and after the last
    draft.
    """
    size, drafts, end = 3, 2, frozenset()
    small, large = laws(size, 11, "none")

    def defers(prefix) -> bool:
        return {"never": True, "always": False}.get(trusted, max(small(prefix)) < Fraction(3, 5))

    def program(chance):
        tokens: list[int] = []
        for _ in range(drafts):
            tokens.append(chance.draw(vector(small(tuple(tokens)))))
        tree = TokenTree.chain(tokens)
        accepted = follow_the_mixture(
            tree,
            lambda node: defers(prefix_of(tree, node)),
            lambda node, depth: chance.draw(vector(large(prefix_of(tree, node)))),
            lambda node, depth: tokens[depth],  # one number for both draws: the draft's own token
            end,
        )
        return committed(tree, accepted)

    def by_definition(prefix=()):
        if len(prefix) == drafts:
            return large(prefix)
        return large(prefix) if defers(prefix) else small(prefix)

    first = Counter()
    for tokens, probability in outcomes(program).items():
        first[tokens[0]] += probability
    assert [first[t] for t in range(size)] == list(by_definition())
    # whole rounds: a committed pair has the product of both mixtures wherever its first token was
    # drafted
    pairs = Counter()
    for tokens, probability in outcomes(program).items():
        if len(tokens) == drafts + 1:
            pairs[tokens[:2]] += probability
    if trusted == "always":
        for (a, b), probability in pairs.items():
            assert probability == small(())[a] * small((a,))[b]


def at(picks):
    return lambda node, depth: picks[depth]


def test_a_lone_mismatch_stands_when_what_follows_agrees() -> None:
    draft, end = [1, 2, 3, 4], frozenset({9})
    # the last window - 1 positions are strict
    assert match_loosely(draft, at([1, 2, 3, 4, 0]), 3, end).path == (0, 1, 2, 3)
    loose = match_loosely(draft, at([1, 7, 3, 4, 0]), 3, end)
    assert (loose.path, loose.token, loose.bonus) == ((0, 1, 2, 3), 0, True)
    strict = match_loosely(draft, at([1, 2, 7, 4, 0]), 3, end)
    assert (strict.path, strict.token, strict.bonus) == ((0, 1), 7, False)
    assert match_loosely(draft, at([1, 7, 7, 4, 0]), 3, end).path == (0,)
    assert match_loosely(draft, at([1, 7, 3, 4, 0]), 3, end, lambda node: node != 0).path == (0,)
    assert match_loosely(draft, at([1, 9, 3, 4, 0]), 3, end).path == (0,)
    ended = match_loosely([1, 9, 3], at([1, 9, 0, 0]), 2, end)
    assert (ended.path, ended.token) == ((0, 1), None)


def test_only_a_grave_disagreement_rolls_back() -> None:
    surprises = [0.1, 1.9, 2.1, 0.0]
    accepted = roll_back([1, 2, 3, 4], surprises.__getitem__, 2.0, at([0, 0, 8, 0, 0]), frozenset())
    assert (accepted.path, accepted.token, accepted.bonus) == ((0, 1), 8, False)
    accepted = roll_back([1, 2], surprises.__getitem__, 2.0, at([0, 0, 8]), frozenset())
    assert (accepted.path, accepted.token, accepted.bonus) == ((0, 1), 8, True)
    accepted = roll_back([1, 2], surprises.__getitem__, 2.0, at([0, 0, 8]), frozenset({1}))
    assert (accepted.path, accepted.token) == ((0,), None)


@pytest.mark.parametrize("shape", ["greedy", "threshold"])
def test_dyspec_samples_the_targets_law(shape) -> None:
    """Through the whole strategy, at temperature 0.8 with top-k 4; see `chi_square.py`."""
    size = 5
    target_law, other = float_law(size, 1, sharpness=1.5), float_law(size, 2, sharpness=1.5)

    def draft_law(prefix):
        return [0.6 * a + 0.4 * b for a, b in zip(target_law(prefix), other(prefix), strict=True)]

    small, large = TableEngine(draft_law, size=size), TableEngine(target_law, size=size)
    chosen = DySpecSettings(shape=shape, budget=5, size="fixed", threshold=0.1)
    strategy = find_method("dyspec").build(Engines(large=large, small=small), chosen, Aids())
    assert_samples_the_law(
        strategy, lambda: TableEngine(target_law, size=size), [0, 1], Sampler(0.8, top_k=4)
    )
