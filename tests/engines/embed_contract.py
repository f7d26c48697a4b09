"""The contract of the capability "vectors" as tests: subclass `EmbedContract` for every backend."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from adec.engines.protocols import EmbedEngine, Vectors
from adec.errors import EngineError
from adec.tree import ROOT, TokenTree
from tests.engines.contract import assert_rows_equal, log_probabilities, random_tree

Fresh = Callable[[], Any]


class EmbedContract:
    """Set `tolerance`, and implement `fresh` as a fixture that makes empty engines on one model."""

    tolerance = 1e-4

    @pytest.fixture
    def fresh(self) -> Fresh:
        raise NotImplementedError

    @pytest.fixture
    def rng(self) -> random.Random:
        return random.Random(5)

    def vector(self, engine: EmbedEngine) -> Vectors:
        """A vector that is no token's."""
        return (-1 - engine.embeddings([2, 3])).mean(0)

    def test_a_tokens_own_embedding_scores_as_the_token(
        self, fresh: Fresh, rng: random.Random
    ) -> None:
        engine = fresh()
        assert isinstance(engine, EmbedEngine) and "vectors" in engine.capabilities
        for size in (1, 4, 7, 9):
            ids = [rng.randrange(engine.info.vocabulary) for _ in range(5)]
            tree = random_tree(rng, size, engine.info.vocabulary)
            rows = []
            for nodes in ((), range(size), rng.sample(range(size), (size + 1) // 2)):
                engine.rewind(0)
                engine.forward(ids, rows=0)
                vectors = {node: engine.embeddings([tree.tokens[node]])[0] for node in nodes}
                rows.append(log_probabilities(engine.forward_tree_vectors(tree, vectors)))
            assert_rows_equal(rows[0], rows[1], self.tolerance)
            assert_rows_equal(rows[0], rows[2], self.tolerance)

    def test_nodes_beside_a_vector_do_not_see_it(self, fresh: Fresh, rng: random.Random) -> None:
        engine = fresh()
        ids = [rng.randrange(engine.info.vocabulary) for _ in range(5)]
        tree = random_tree(rng, 5, engine.info.vocabulary, leaves=3)
        engine.forward(ids, rows=0)
        plain = log_probabilities(engine.forward_tree(tree))
        engine.keep([0])
        after = log_probabilities(engine.forward([1, 2], rows=2))
        engine.rewind(len(ids))
        whole = tree.below(())
        ahead = {whole.add(node, 0): self.vector(engine) for node in (ROOT, 0, 4)}
        first = min(ahead)
        ahead[whole.add(first, 0)] = self.vector(engine)
        scores = log_probabilities(engine.forward_tree_vectors(whole, ahead))
        assert_rows_equal(scores[:5], plain, self.tolerance)
        # one below another sees it, and what stands before both
        assert np.abs(scores[first] - scores[-1]).max() > 10 * self.tolerance
        assert np.abs(scores[first] - scores[first + 1]).max() > 10 * self.tolerance
        with pytest.raises(EngineError, match="cannot be kept"):
            engine.keep([first])
        engine.keep([0])
        assert engine.length == len(ids) + 1
        # nothing of it is left in the cache
        rows = log_probabilities(engine.forward([1, 2], rows=2))
        assert_rows_equal(rows, after, self.tolerance)

    def test_a_tree_with_vectors_grows(self, fresh: Fresh, rng: random.Random) -> None:
        engine, other = fresh(), fresh()
        vector = self.vector(engine)
        for one in (engine, other):
            one.forward([3, 1, 4], rows=0)
        tree = TokenTree.chain([1, 5])
        ahead = {tree.add(0, 0): vector}
        engine.forward_tree_vectors(tree, ahead)
        leaf = tree.add(1, 9)
        ahead[tree.add(2, 0)] = vector
        grown = log_probabilities(engine.forward_tree_vectors(tree, ahead, first_row=3))
        whole = log_probabilities(other.forward_tree_vectors(tree, ahead, first_row=3))
        assert_rows_equal(grown, whole, self.tolerance)
        with pytest.raises(EngineError, match="cannot be kept"):
            engine.keep([0, 2])
        engine.keep([0, 1, leaf])
        # a chain without vectors is free of what was before it
        engine.forward_tree(TokenTree.chain([1, 2, 3]))
        engine.keep([0, 1, 2])
        assert engine.length == 9

    def test_wrong_vectors_are_refused(self, fresh: Fresh) -> None:
        engine = fresh()
        engine.forward([3, 1, 4], rows=0)
        tree = TokenTree.chain([1, 5])
        good = self.vector(engine)
        for wrong in ({2: good}, {-1: good}, {0: np.append(good, good)}, {0: good[None]}):
            with pytest.raises(EngineError, match="reads vectors of"):
                engine.forward_tree_vectors(tree, wrong)
        with pytest.raises(EngineError):
            engine.embeddings([engine.info.vocabulary])
        assert engine.length == 3
        assert len(engine.forward_tree_vectors(tree, {1: good})) == 2
        engine.rewind(3)
        assert len(engine.forward([5])) == 1
