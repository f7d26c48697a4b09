"""Differences from plain are judged by how far rounding moves this model's logits, as measured."""

from __future__ import annotations

import numpy as np
import pytest

from adec.benchmark.rounding import logit_gap, rounding_noise
from adec.benchmark.samples import Difference
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
    assert rounding_noise(engine, [0, 1], answer) == pytest.approx(error, abs=1e-5)
    assert engine.length == 0


def test_an_engine_without_trees_and_a_short_answer() -> None:
    engine = TableEngine(laws.law(6, 3), size=6, capabilities=frozenset({"rewind"}))
    assert rounding_noise(engine, [0], [1]) == 0


@pytest.mark.parametrize(
    ("gap", "noise", "explained"),
    [
        (0.1, 0.2, True),
        (-0.1, 0.2, True),
        (0.3, 0.2, False),
        (None, 9.0, False),
        (0.0, None, False),
    ],
)
def test_only_measured_noise_explains_a_difference(gap, noise, explained) -> None:
    assert Difference(3, "a", "b", gap, noise=noise).is_rounding == explained


def test_gaps_to_impossible_tokens_are_finite() -> None:
    scores = ArrayScores(np.array([[0.0, -np.inf]], dtype=np.float32))
    assert logit_gap(scores, 0, 0, 1) == pytest.approx(1e30)
