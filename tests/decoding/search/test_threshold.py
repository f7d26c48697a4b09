"""The logistic fit against its own law, the paper's rule, and the repair."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adec.decoding.search.threshold import fit_logistic, learn_threshold, observe, sigmoid
from adec.engines.table import TableEngine
from tests.laws import law


def positions(count: int, seed: int = 1, weight: float = -3.0, bias: float = 3.0):
    """Entropies, and rights drawn from a known logistic law of them."""
    rng = np.random.default_rng(seed)
    entropies = rng.exponential(0.8, count)
    right = rng.random(count) < sigmoid(weight * entropies + bias)
    return entropies, right


def test_the_fit_finds_the_law_that_made_the_data() -> None:
    """20,000 positions: the standard errors are 0.05 and 0.04, six of them are allowed, so 1 run in
    10^8 fails by chance.
    """
    weight, bias = fit_logistic(*positions(20_000), ridge=0.0)
    assert weight == pytest.approx(-3.0, abs=0.3)
    assert bias == pytest.approx(3.0, abs=0.25)


def test_the_fit_is_where_the_gradient_vanishes() -> None:
    for ridge in (0.0, 1.0, 20.0):
        x, y = positions(400)
        weight, bias = fit_logistic(x, y, ridge=ridge)
        residual = sigmoid(weight * x + bias) - y
        assert float(residual.sum()) == pytest.approx(0.0, abs=1e-5)
        assert float(residual @ x) + ridge * weight == pytest.approx(0.0, abs=1e-5)


def test_classes_that_can_be_separated_have_a_finite_fit() -> None:
    x = np.concatenate([np.linspace(0, 1, 30), np.linspace(2, 3, 30)])
    weight, bias = fit_logistic(x, x < 1.5)
    assert -100 < weight < -1 and 0 < bias < 200
    assert -bias / weight == pytest.approx(1.5, abs=0.05)


def test_the_papers_rule_puts_the_threshold_where_the_curve_has_p() -> None:
    learned = learn_threshold(*positions(20_000))
    assert sigmoid(np.array([learned.weight * learned.nats + learned.bias]))[0] == pytest.approx(
        learned.cut, abs=1e-9
    )
    entropies, _ = positions(20_000)
    assert learned.trigger_rate == (entropies >= learned.nats).mean()
    # equal classes shift the bias alone; the best cut shifts it back, to where the law has one
    # half: 1 nat
    assert learned.nats == pytest.approx(1.0, abs=0.25)


@settings(max_examples=60, deadline=None)
@given(
    st.floats(0.001, 0.9),
    st.integers(0, 50),
    st.booleans(),
)
def test_a_trigger_rate_is_kept_and_nearly_used_up(rate, seed, ties) -> None:
    entropies, right = positions(800, seed)
    if ties:
        entropies = np.round(entropies, 1)
    learned = learn_threshold(entropies, right, trigger_rate=rate)
    assert learned.trigger_rate <= rate
    lower = entropies[entropies < learned.nats].max(initial=-np.inf)
    assert (entropies >= lower).mean() > rate  # the next lower threshold would trigger too often
    assert learned.cut == pytest.approx(
        float(sigmoid(np.array([learned.weight * learned.nats + learned.bias]))[0])
    )


def test_what_cannot_be_learned_from_is_refused() -> None:
    entropies, right = positions(400)
    for wrong, said in (
        (lambda: learn_threshold(entropies, right[:-1]), "shapes"),
        (lambda: learn_threshold(np.append(entropies, np.nan), np.append(right, True)), "finite"),
        (lambda: learn_threshold(entropies, np.ones(400, bool)), "ten of each"),
        (lambda: learn_threshold(entropies, right, trigger_rate=1.5), "between 0 and 1"),
        (lambda: learn_threshold(entropies, entropies > 0.6), "surer"),
        (lambda: learn_threshold(np.empty(0), np.empty(0, bool)), "ten of each"),
    ):
        with pytest.raises(ValueError, match=said):
            wrong()


def test_observing_is_teacher_forcing() -> None:
    distribution = law(6, 2)
    engine = TableEngine(distribution, size=6)
    engine.forward([5, 5])
    prompt, solution = [0, 1, 2], [3, 1, 4, 1]
    entropies, right = observe(engine, prompt, solution)
    for i, token in enumerate(solution):
        row = distribution(tuple(prompt + solution[:i]))
        assert entropies[i] == pytest.approx(-sum(p * math.log(p) for p in row if p), abs=1e-5)
        assert right[i] == (max(range(6), key=row.__getitem__) == token)
