"""The contract of an engine as tests: subclass `EngineContract` for every backend.

Rows are compared as log-probabilities within `tolerance`, since batches and kernels change the last
bits. The stateful part checks lengths and rows after any sequence of operations against a model
that is never rewound.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from adec.engines.base import Engine
from adec.errors import EngineError
from adec.signals import Scores
from adec.tree import ROOT, TokenTree


def log_probabilities(scores: Scores) -> np.ndarray:
    """(rows, vocabulary) log-softmax in float64."""
    rows = np.stack([scores.row(i) for i in range(len(scores))]).astype(np.float64)
    top = rows.max(axis=1, keepdims=True)
    return rows - top - np.log(np.exp(rows - top).sum(axis=1, keepdims=True))


def assert_rows_equal(left: np.ndarray, right: np.ndarray, tolerance: float) -> None:
    """Equal where both are finite, and -inf in the same places."""
    assert left.shape == right.shape
    alive = np.isfinite(left)
    assert (alive == np.isfinite(right)).all()
    assert np.abs(left[alive] - right[alive]).max(initial=0.0) <= tolerance


def random_tree(rng: random.Random, size: int, vocabulary: int, leaves: int = 6) -> TokenTree:
    """A random tree in any order of nodes, with distinct siblings and at most `leaves` leaves."""
    tree = TokenTree()
    while len(tree) < size:
        options = [ROOT, *range(len(tree))]
        rng.shuffle(options)
        for parent in options:
            extends_leaf = parent in tree.leaves() if len(tree) else True
            if not extends_leaf and len(tree.leaves()) >= leaves:
                continue
            taken = {tree.tokens[child] for child in tree.children(parent)}
            token = rng.randrange(vocabulary)
            if token not in taken:
                tree.add(parent, token)
                break
    return tree


class EngineMachine(RuleBasedStateMachine):
    """Operations on one engine, which is closed afterwards."""

    engine: Engine

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            self.engine.close()


def run_machine(machine: type[EngineMachine], *, examples: int, steps: int) -> None:
    """Try sequences of operations; engines are slow, and that is no failure."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


class EngineContract:
    """Set `tolerance`, and implement `engine` as a fixture that yields a fresh, empty engine."""

    tolerance = 1e-4
    examples = 30
    steps = 12
    leaves = 6
    """Most leaves of the trees that it is given; 1: chains only."""

    @pytest.fixture
    def fresh(self) -> Callable[[], Engine]:
        """A factory of empty engines on the same model; close what it made afterwards."""
        raise NotImplementedError

    @pytest.fixture
    def rng(self) -> random.Random:
        return random.Random(11)

    def ids(self, rng: random.Random, engine: Engine, count: int) -> list[int]:
        return [rng.randrange(engine.info.vocabulary) for _ in range(count)]

    def path_rows(self, fresh: Callable[[], Engine], tokens: Sequence[int]) -> np.ndarray:
        return log_probabilities(fresh().forward(list(tokens), rows=len(tokens)))

    def test_starts_empty(self, fresh: Callable[[], Engine]) -> None:
        engine = fresh()
        assert engine.length == 0
        assert engine.context > 0
        assert engine.info.vocabulary == len(engine.vocabulary)

    def test_one_forward_equals_one_by_one(
        self, fresh: Callable[[], Engine], rng: random.Random
    ) -> None:
        together, single = fresh(), fresh()
        tokens = self.ids(rng, together, 13)
        rows = log_probabilities(together.forward(tokens, rows=len(tokens)))
        for i, token in enumerate(tokens):
            row = log_probabilities(single.forward([token]))
            assert_rows_equal(row, rows[i : i + 1], self.tolerance)
        assert together.length == single.length == len(tokens)

    def test_rows_are_the_last_ones(self, fresh: Callable[[], Engine], rng: random.Random) -> None:
        tokens = self.ids(rng, fresh(), 7)
        every = log_probabilities(fresh().forward(tokens, rows=7))
        for rows in (1, 3):
            some = log_probabilities(fresh().forward(tokens, rows=rows))
            assert_rows_equal(some, every[-rows:], self.tolerance)
        assert len(fresh().forward(tokens, rows=0)) == 0

    def test_long_input_is_cut_inside(
        self, fresh: Callable[[], Engine], rng: random.Random
    ) -> None:
        engine, pieces = fresh(), fresh()
        tokens = self.ids(rng, engine, min(700, engine.context - 1))
        last = log_probabilities(engine.forward(tokens, rows=2))
        pieces.forward(tokens[:300], rows=0)
        pieces.forward(tokens[300:-2], rows=0)
        assert_rows_equal(
            last, log_probabilities(pieces.forward(tokens[-2:], rows=2)), self.tolerance
        )

    def test_tree_rows_equal_rows_of_paths(
        self, fresh: Callable[[], Engine], rng: random.Random
    ) -> None:
        for size in (1, 2, 5, 12):
            engine = fresh()
            trunk = self.ids(rng, engine, 5)
            engine.forward(trunk, rows=0)
            tree = random_tree(rng, size, engine.info.vocabulary, self.leaves)
            rows = log_probabilities(engine.forward_tree(tree))
            assert engine.length == len(trunk)
            for leaf in tree.leaves():
                path = tree.path(leaf)
                alone = self.path_rows(fresh, trunk + [tree.tokens[node] for node in path])
                assert_rows_equal(rows[path], alone[len(trunk) :], self.tolerance)

    def test_tree_first_row(self, fresh: Callable[[], Engine], rng: random.Random) -> None:
        engine = fresh()
        trunk = self.ids(rng, engine, 4)
        tree = random_tree(rng, 6, engine.info.vocabulary, self.leaves)
        engine.forward(trunk, rows=0)
        every = log_probabilities(engine.forward_tree(tree))
        engine.rewind(len(trunk))
        assert_rows_equal(
            log_probabilities(engine.forward_tree(tree, first_row=4)), every[4:], self.tolerance
        )

    def test_a_tree_grows_by_what_is_new(
        self, fresh: Callable[[], Engine], rng: random.Random
    ) -> None:
        """In three parts, the first perhaps a chain; every row is that of its path alone."""
        for seed in range(12):
            rng = random.Random(seed)
            engine = fresh()
            trunk = self.ids(rng, engine, 5)
            engine.forward(trunk, rows=0)
            tree = random_tree(rng, rng.randint(3, 12), engine.info.vocabulary, self.leaves)
            first, second = sorted(rng.sample(range(1, len(tree)), 2))
            rows = []
            for begin, end in ((0, first), (first, second), (second, len(tree))):
                part = TokenTree(tree.tokens[:end], tree.parents[:end])
                with pytest.raises(EngineError):
                    engine.forward_tree(part, first_row=begin - 1)
                rows.append(log_probabilities(engine.forward_tree(part, first_row=begin)))
                assert engine.length == len(trunk)
            for leaf in tree.leaves():
                path = tree.path(leaf)
                alone = self.path_rows(fresh, trunk + [tree.tokens[node] for node in path])
                assert_rows_equal(np.concatenate(rows)[path], alone[len(trunk) :], self.tolerance)
            path = tree.path(rng.randrange(len(tree)))
            engine.keep(path)
            trunk = trunk + [tree.tokens[node] for node in path] + self.ids(rng, engine, 2)
            rows = log_probabilities(engine.forward(trunk[-2:], rows=2))
            assert_rows_equal(rows, self.path_rows(fresh, trunk)[-2:], self.tolerance)

    def test_what_does_not_grow_a_tree_leaves_it_pending(
        self, fresh: Callable[[], Engine], rng: random.Random
    ) -> None:
        engine = fresh()
        if "tree" not in engine.capabilities:
            pytest.skip("it runs no trees")
        engine.forward(self.ids(rng, engine, 5), rows=0)
        tree = TokenTree([1, 2, 3], [ROOT, ROOT, 0])
        engine.forward_tree(tree)
        size = engine.info.vocabulary
        for tokens, parents in (
            ([1, 2, 3], [ROOT, ROOT, 0]),
            ([1, 2, 4, 3], [ROOT, ROOT, 0, 0]),
            ([1, 2, 3, 4], [ROOT, ROOT, 1, 0]),
            ([1, 2, 3, size], [ROOT, ROOT, 0, 0]),
        ):
            with pytest.raises(EngineError):
                engine.forward_tree(TokenTree(tokens, parents), first_row=3)
        engine.forward_tree(TokenTree([1, 2, 3, 4], [ROOT, ROOT, 0, 2]), first_row=3)
        engine.keep([0, 2, 3])
        assert engine.length == 8

    def test_after_keep_rows_are_a_fresh_engines(
        self, fresh: Callable[[], Engine], rng: random.Random
    ) -> None:
        for size in (1, 4, 9):
            engine = fresh()
            trunk = self.ids(rng, engine, 6)
            engine.forward(trunk, rows=0)
            tree = random_tree(rng, size, engine.info.vocabulary, self.leaves)
            for node in (ROOT, rng.randrange(size), rng.choice(tree.leaves())):
                engine.forward_tree(tree)
                path = tree.path(node)
                engine.keep(path)
                trunk = trunk + [tree.tokens[i] for i in path]
                assert engine.length == len(trunk)
                probe = self.ids(rng, engine, 2)
                rows = log_probabilities(engine.forward(probe, rows=2))
                trunk = trunk + probe
                assert_rows_equal(rows, self.path_rows(fresh, trunk)[-2:], self.tolerance)

    def test_after_rewind_rows_are_a_fresh_engines(
        self, fresh: Callable[[], Engine], rng: random.Random
    ) -> None:
        engine = fresh()
        tokens = self.ids(rng, engine, 12)
        engine.forward(tokens, rows=0)
        for length in (12, 9, 4, 0):
            engine.rewind(length)
            assert engine.length == length
            tokens = tokens[:length] + self.ids(rng, engine, 3)
            rows = log_probabilities(engine.forward(tokens[length:], rows=3))
            assert_rows_equal(rows, self.path_rows(fresh, tokens)[-3:], self.tolerance)
            engine.rewind(length)
            tokens = tokens[:length]

    def test_scores_outlive_later_calls(
        self, fresh: Callable[[], Engine], rng: random.Random
    ) -> None:
        engine = fresh()
        scores = engine.forward(self.ids(rng, engine, 4), rows=2)
        before = log_probabilities(scores)
        engine.forward(self.ids(rng, engine, 4), rows=2)
        assert_rows_equal(before, log_probabilities(scores), 0.0)

    def test_refusals_change_nothing(self, fresh: Callable[[], Engine], rng: random.Random) -> None:
        engine = fresh()
        tokens = self.ids(rng, engine, 5)
        engine.forward(tokens, rows=0)
        size = engine.info.vocabulary
        refused: list[Callable[[], object]] = [
            lambda: engine.forward([]),
            lambda: engine.forward([size]),
            lambda: engine.forward([-1]),
            lambda: engine.forward([0], rows=2),
            lambda: engine.forward([0] * engine.context),
            lambda: engine.rewind(6),
            lambda: engine.rewind(-1),
            lambda: engine.keep([0]),
            lambda: engine.forward_tree(TokenTree()),
            lambda: engine.forward_tree(TokenTree.chain([0, size])),
        ]
        for call in refused:
            with pytest.raises(EngineError):
                call()
            assert engine.length == 5
        probe = self.ids(rng, engine, 1)
        row = log_probabilities(engine.forward(probe))
        assert_rows_equal(row, self.path_rows(fresh, tokens + probe)[-1:], self.tolerance)

    def test_a_pending_tree_blocks_and_a_rewind_drops_it(
        self, fresh: Callable[[], Engine], rng: random.Random
    ) -> None:
        engine = fresh()
        tokens = self.ids(rng, engine, 5)
        engine.forward(tokens, rows=0)
        engine.forward_tree(TokenTree.chain([1, 2]))
        for call in (
            lambda: engine.forward([0]),
            lambda: engine.forward_tree(TokenTree.chain([1])),
        ):
            with pytest.raises(EngineError):
                call()
        with pytest.raises(EngineError):
            engine.keep([1])
        engine.rewind(5)
        row = log_probabilities(engine.forward([3]))
        assert_rows_equal(row, self.path_rows(fresh, [*tokens, 3])[-1:], self.tolerance)

    def test_closed_engine_refuses(self, fresh: Callable[[], Engine]) -> None:
        engine = fresh()
        engine.close()
        engine.close()
        with pytest.raises(EngineError):
            engine.forward([0])

    def test_any_sequence_of_operations(self, fresh: Callable[[], Engine]) -> None:
        contract = self

        class Machine(EngineMachine):
            @initialize()
            def start(self) -> None:
                self.engine = fresh()
                self.tokens: list[int] = []
                self.tree: TokenTree | None = None

            @precondition(lambda self: self.tree is None)
            @rule(data=st.data(), count=st.integers(1, 6))
            def feed(self, data: st.DataObject, count: int) -> None:
                top = self.engine.info.vocabulary - 1
                tokens = data.draw(st.lists(st.integers(0, top), min_size=count, max_size=count))
                rows = log_probabilities(self.engine.forward(tokens, rows=len(tokens)))
                self.tokens += tokens
                expected = contract.path_rows(fresh, self.tokens)[-len(tokens) :]
                assert_rows_equal(rows, expected, contract.tolerance)

            @precondition(lambda self: self.tree is None)
            @rule(seed=st.integers(0, 999), size=st.integers(1, 8))
            def try_tree(self, seed: int, size: int) -> None:
                rng, most = random.Random(seed), self.engine.info.vocabulary
                self.tree = random_tree(rng, size, most, contract.leaves)
                self.engine.forward_tree(self.tree)

            @precondition(lambda self: self.tree is not None)
            @rule(pick=st.integers(ROOT, 7))
            def keep(self, pick: int) -> None:
                assert self.tree is not None
                path = self.tree.path(min(pick, len(self.tree) - 1))
                self.engine.keep(path)
                self.tokens += [self.tree.tokens[node] for node in path]
                self.tree = None

            @rule(share=st.floats(0, 1))
            def rewind(self, share: float) -> None:
                length = int(share * len(self.tokens))
                self.engine.rewind(length)
                del self.tokens[length:]
                self.tree = None

            @invariant()
            def length_is_right(self) -> None:
                if hasattr(self, "engine"):
                    assert self.engine.length == len(self.tokens)
                    assert self.engine.common([*self.tokens, 0]) == len(self.tokens)
                    for place in range(len(self.tokens))[-2:]:
                        other = [*self.tokens[:place], self.tokens[place] ^ 1]
                        assert self.engine.common(other) == place

        run_machine(Machine, examples=self.examples, steps=self.steps)
