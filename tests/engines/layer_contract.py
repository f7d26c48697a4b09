"""The contract of the capability "layers" as tests: subclass `LayerContract` for every backend."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from adec.engines.protocols import LayerEngine
from adec.errors import EngineError
from adec.tree import ROOT, TokenTree
from tests.engines.contract import (
    EngineMachine,
    assert_rows_equal,
    log_probabilities,
    random_tree,
    run_machine,
)

Fresh = Callable[[], LayerEngine]


class LayerContract:
    """Set `tolerance`, and implement `fresh` as a fixture that makes empty engines on one model."""

    tolerance = 1e-4
    examples = 25
    steps = 14

    @pytest.fixture
    def fresh(self) -> Fresh:
        raise NotImplementedError

    def rows(self, fresh: Fresh, tokens: Collection[int], count: int) -> np.ndarray:
        return log_probabilities(fresh().forward([*tokens], rows=count))

    def test_states_are_there_as_long_as_their_scores(self, fresh: Fresh) -> None:
        engine = fresh()
        layers = engine.info.layers
        engine.lower([3, 1, 4, 1], layers)
        states = [engine.states_at(depth, rows=3) for depth in range(layers + 1)]
        assert all(np.isfinite(state).all() and len(state) == 3 for state in states)
        assert all((one != two).any() for one, two in pairwise(states))
        # what lies below a token is not what another token changes
        engine.rewind(0)
        engine.lower([3, 1, 4, 1], 1)
        np.testing.assert_allclose(engine.states_at(1, rows=3), states[1], rtol=1e-4, atol=1e-4)
        with pytest.raises(EngineError):
            engine.states_at(2, rows=1)
        # the head can be asked about states of tokens that are gone
        expected = log_probabilities(engine.scores_at(1, rows=3))
        kept = engine.states_at(1, rows=3)
        engine.rewind(0)
        assert_rows_equal(log_probabilities(engine.scores_of(kept)), expected, self.tolerance)

    def test_lower_and_finish_equal_forward(self, fresh: Fresh) -> None:
        engine = fresh()
        layers = engine.info.layers
        rng = random.Random(3)
        tokens = [rng.randrange(engine.info.vocabulary) for _ in range(9)]
        for depth in range(1, layers + 1):
            engine.rewind(0)
            engine.forward(tokens[:3], rows=0)
            engine.lower(tokens[3:4], depth)
            engine.lower(tokens[4:7], depth)
            assert [engine.layer_length(i) for i in range(layers)] == [
                7 if i < depth else 3 for i in range(layers)
            ]
            if depth < layers:
                rows = log_probabilities(engine.finish(rows=4))
                assert_rows_equal(rows, self.rows(fresh, tokens[:7], 4), self.tolerance)
            rows = log_probabilities(engine.forward(tokens[7:], rows=2))
            assert_rows_equal(rows, self.rows(fresh, tokens, 2), self.tolerance)

    def test_scores_at_the_last_layer_are_the_models(self, fresh: Fresh) -> None:
        engine = fresh()
        layers = engine.info.layers
        engine.forward([1, 2, 3], rows=0)
        engine.lower([4, 5], 1)
        assert engine.scores_at(1, rows=2).row(0).shape == (engine.info.vocabulary,)
        for wrong in (lambda: engine.scores_at(2), lambda: engine.scores_at(1, rows=3)):
            with pytest.raises(EngineError):
                wrong()
        finished = log_probabilities(engine.finish(rows=2))
        assert_rows_equal(log_probabilities(engine.scores_at(layers, rows=2)), finished, 0.0)
        # what they went through on their way up can still be asked for
        assert len(engine.scores_at(1, rows=2)) == 2
        one = fresh()
        one.forward([1, 2, 3], rows=0)
        one.lower([4, 5], 1)
        expected = log_probabilities(one.scores_at(1, rows=2))
        assert_rows_equal(log_probabilities(engine.scores_at(1, rows=2)), expected, self.tolerance)

    def test_a_token_climbs_from_exit_to_exit(self, fresh: Fresh) -> None:
        engine = fresh()
        layers = engine.info.layers
        engine.forward([1, 2, 3], rows=0)
        engine.lower([4], 1)
        for depth in range(1, layers + 1):
            engine.deepen(depth)
            engine.deepen(1)  # below what is reached, nothing happens
            one = fresh()
            one.forward([1, 2, 3], rows=0)
            one.lower([4], depth)
            states = engine.states_at(depth)
            assert states.dtype == np.float32 and states.shape[0] == 1
            assert np.abs(states - one.states_at(depth)).max() < self.tolerance
            lengths = [engine.layer_length(i) for i in range(layers)]
            assert lengths == [4 if i < depth else 3 for i in range(layers)]
        expected = self.rows(fresh, [1, 2, 3, 4], 1)
        found = log_probabilities(engine.scores_at(layers))
        assert_rows_equal(found, expected, self.tolerance)
        for wrong in (lambda: engine.deepen(0), lambda: engine.deepen(layers + 1)):
            with pytest.raises(EngineError):
                wrong()
        with pytest.raises(EngineError):
            engine.states_at(layers, rows=9)

    def test_a_propagated_token_is_one_that_the_upper_layers_left_out(self, fresh: Fresh) -> None:
        layers = fresh().info.layers
        for depth in range(1, layers):
            stopped, skipping = fresh(), fresh()
            for engine in (stopped, skipping):
                engine.forward([7, 8, 9], rows=0)
            stopped.lower([1, 2], depth)
            stopped.propagate()
            with pytest.raises(EngineError):
                stopped.finish()
            skipping.leave_out(range(depth, layers))
            skipping.forward([1, 2], rows=0)
            skipping.leave_out(())
            left, right = (
                log_probabilities(one.forward([3], rows=1)) for one in (stopped, skipping)
            )
            assert_rows_equal(left, right, self.tolerance)
            if depth < layers - 1:  # the last layer's keys come from that state in any case
                whole = self.rows(fresh, [7, 8, 9, 1, 2, 3], 1)
                assert np.abs(left - whole).max() > 10 * self.tolerance
            assert {stopped.layer_length(i) for i in range(layers)} == {6}

    def test_what_was_filled_in_late_equals_what_was_filled_in_at_once(self, fresh: Fresh) -> None:
        """Tokens one by one, each read by a full layer pass before the next, or all at the end."""
        layers = fresh().info.layers
        rng = random.Random(8)
        for _ in range(6):
            left_out = rng.sample(range(layers), rng.randint(1, layers - 1))
            late, at_once = fresh(), fresh()
            tokens = [rng.randrange(late.info.vocabulary) for _ in range(5)]
            late.leave_out(left_out)
            late.forward(tokens[:3], rows=0)
            late.forward(tokens[3:], rows=0)
            at_once.leave_out(left_out)
            at_once.forward(tokens, rows=0)
            rows = []
            for engine in (late, at_once):
                engine.leave_out(())
                rows.append(log_probabilities(engine.forward([1, 2], rows=2)))
            assert_rows_equal(*rows, self.tolerance)

    def test_states_are_watched_whoever_runs_the_tokens(self, fresh: Fresh) -> None:
        engine, one = fresh(), fresh()
        layers = engine.info.layers
        depths = sorted({1, max(1, layers - 1), layers})
        engine.watch(depths, since=2)
        engine.forward([1, 2, 3], rows=1)
        engine.lower([4], 1)
        engine.finish(rows=1)
        engine.forward_tree(TokenTree([5, 6, 7], [ROOT, ROOT, 1]))
        engine.forward_tree(TokenTree([5, 6, 7, 8], [ROOT, ROOT, 1, 2]), first_row=3)
        engine.keep([1, 2, 3])
        engine.forward([9, 10], rows=0)
        engine.rewind(engine.length - 1)
        engine.forward([11])
        tokens = [1, 2, 3, 4, 6, 7, 8, 9, 11]
        assert engine.length == len(tokens)
        one.lower(tokens, layers)
        for depth in depths:
            expected = one.states_at(depth, rows=len(tokens))
            np.testing.assert_allclose(engine.watched(depth, 2), expected[2:], rtol=1e-3, atol=1e-3)
            assert len(engine.watched(depth, 8)) == 1
        # of a token that passed a depth by there is nothing
        engine.lower([12], 1)
        engine.propagate()
        engine.forward([13])
        assert np.isfinite(engine.watched(1, 9)).all()
        if layers > 1:
            above = np.isnan(engine.watched(layers, 9)).all(1)
            assert above.tolist() == [True, False]
        for wrong in (lambda: engine.watched(depths[0], 1), lambda: engine.watch([layers + 1])):
            with pytest.raises(EngineError):
                wrong()
        engine.watch(())
        with pytest.raises(EngineError):
            engine.watched(1, 2)

    def test_refusals_change_nothing(self, fresh: Fresh) -> None:
        engine = fresh()
        layers, size = engine.info.layers, engine.info.vocabulary
        engine.forward([1, 2, 3], rows=0)
        engine.lower([4], 1)
        refused: list[Callable[[], object]] = [
            lambda: engine.lower([], 1),
            lambda: engine.lower([size], 1),
            lambda: engine.lower([0], 0),
            lambda: engine.lower([0], layers + 1),
            lambda: engine.lower([0] * engine.context, 1),
            lambda: engine.finish(rows=2),
            lambda: engine.finish(rows=-1),
            lambda: engine.leave_out([layers]),
            lambda: engine.leave_out([-1]),
            lambda: engine.leave_out(range(layers)),
            lambda: engine.layer_length(layers),
        ]
        for call in refused:
            with pytest.raises(EngineError):
                call()
            assert engine.length == 4
        rows = log_probabilities(engine.finish(rows=1))
        assert_rows_equal(rows, self.rows(fresh, [1, 2, 3, 4], 1), self.tolerance)
        engine.forward_tree(TokenTree.chain([1, 2]))
        for call in (lambda: engine.lower([1], 1), engine.finish, engine.propagate):
            with pytest.raises(EngineError):
                call()
        engine.rewind(4)

    def test_any_order_of_operations(self, fresh: Fresh) -> None:
        contract = self

        class Machine(EngineMachine):
            engine: LayerEngine

            @initialize()
            def start(self) -> None:
                self.engine = fresh()
                self.tokens: list[int] = []
                self.finished = 0
                self.tree: TokenTree | None = None

            def check(self, rows: np.ndarray) -> None:
                if len(rows):
                    expected = contract.rows(fresh, self.tokens, len(self.tokens))[-len(rows) :]
                    assert_rows_equal(rows, expected, contract.tolerance)

            @precondition(lambda self: self.tree is None)
            @rule(tokens=st.lists(st.integers(0, 9), min_size=1, max_size=4), share=st.floats(0, 1))
            def lower(self, tokens: list[int], share: float) -> None:
                depth = 1 + round(share * (self.engine.info.layers - 1))
                self.engine.lower(tokens, depth)
                self.tokens += tokens
                if depth == self.engine.info.layers:
                    self.finished = len(self.tokens)

            @precondition(lambda self: self.tree is None)
            @rule()
            def finish(self) -> None:
                missing = len(self.tokens) - self.finished
                self.check(log_probabilities(self.engine.finish(rows=missing)) if missing else [])
                self.finished = len(self.tokens)

            @precondition(lambda self: self.tree is None)
            @rule(tokens=st.lists(st.integers(0, 9), min_size=1, max_size=4))
            def forward(self, tokens: list[int]) -> None:
                scores = self.engine.forward(tokens, rows=len(tokens))
                self.tokens += tokens
                self.check(log_probabilities(scores))
                self.finished = len(self.tokens)

            @precondition(lambda self: self.tree is None)
            @rule(seed=st.integers(0, 999), size=st.integers(1, 6))
            def try_tree(self, seed: int, size: int) -> None:
                self.tree = random_tree(random.Random(seed), size, 10)
                self.engine.forward_tree(self.tree)
                self.finished = len(self.tokens)

            @precondition(lambda self: self.tree is not None)
            @rule(pick=st.integers(ROOT, 5))
            def keep(self, pick: int) -> None:
                assert self.tree is not None
                path = self.tree.path(min(pick, len(self.tree) - 1))
                self.engine.keep(path)
                self.tokens += [self.tree.tokens[node] for node in path]
                self.finished, self.tree = len(self.tokens), None

            @rule(share=st.floats(0, 1))
            def rewind(self, share: float) -> None:
                length = int(share * len(self.tokens))
                self.engine.rewind(length)
                del self.tokens[length:]
                self.finished, self.tree = min(self.finished, length), None

            @invariant()
            def lengths_are_right(self) -> None:
                if hasattr(self, "engine") and self.tree is None:
                    layers = self.engine.info.layers
                    lengths = [self.engine.layer_length(i) for i in range(layers)]
                    assert self.engine.length == len(self.tokens) == lengths[0]
                    assert lengths == sorted(lengths, reverse=True)
                    assert lengths[-1] == self.finished

        run_machine(Machine, examples=self.examples, steps=self.steps)
