"""Up to which sizes forwards give the rows of single tokens, and how far others move them."""

from __future__ import annotations

import numpy as np
import pytest

from adec.engines.invariance import (
    keep_invariance,
    kept_invariance,
    logit_gap,
    measure_invariance,
)
from adec.engines.table import TableEngine
from adec.signals import ArrayScores
from tests import laws


class Rounds(TableEngine):
    """Moves the likeliest token's logit by `error` in forwards of several tokens."""

    error = 0.0

    def _scores(self, prefixes):
        scores = super()._scores(prefixes)
        rows = np.array([scores.row(i) for i in range(len(scores))])
        if len(prefixes) > 1:
            rows[np.arange(len(rows)), rows.argmax(axis=1)] -= self.error
        return ArrayScores(rows)


@pytest.mark.parametrize("error", [0.0, 0.25])
def test_the_noise_is_what_other_forwards_change(error: float) -> None:
    engine = Rounds(laws.law(6, 3), size=6)
    engine.error = error
    answer = [1, 2, 3, 4, 0, 1, 2, 3, 4, 1, 2]
    found = measure_invariance(engine, [0, 1], answer)
    assert found.most == pytest.approx(error, abs=1e-5)
    assert (found.chains, found.trees) == ((32, 32) if error == 0 else (1, 1))
    assert found.is_bitwise(32, 1, found.length) == (error == 0)
    keep_invariance(engine, found)
    assert kept_invariance(engine) == found
    assert engine.length == 0


def test_an_engine_without_trees_and_a_short_answer() -> None:
    engine = TableEngine(laws.law(6, 3), size=6, capabilities=frozenset({"rewind"}))
    found = measure_invariance(engine, [0], [1])
    assert (found.most, found.trees) == (0, 1)
    assert kept_invariance(engine) is None


def test_gaps_to_impossible_tokens_are_finite() -> None:
    scores = ArrayScores(np.array([[0.0, -np.inf]], dtype=np.float32))
    assert logit_gap(scores, 0, 0, 1) == pytest.approx(1e30)


class RoundsAfterPieces(TableEngine):
    """Moves the likeliest logit if the first forward was not the whole prompt of 20 tokens."""

    def _scores(self, prefixes):
        scores = super()._scores(prefixes)
        rows = np.array([scores.row(i) for i in range(len(scores))])
        if self.length == 0:
            self.first = max(map(len, prefixes))
        if self.first != 20:
            rows[np.arange(len(rows)), rows.argmax(axis=1)] -= 0.25
        return ArrayScores(rows)


def test_a_prompt_that_is_read_in_other_pieces_counts_as_noise() -> None:
    engine = RoundsAfterPieces(laws.law(6, 3), size=6)
    engine.first = 0
    found = measure_invariance(engine, [0, 1] * 10, [1, 2, 3, 4])
    assert (found.chains, found.trees) == (32, 32)
    assert found.most == pytest.approx(0.25, abs=1e-5)
