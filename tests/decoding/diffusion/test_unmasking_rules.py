"""The rules by themselves, on rows made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from adec.decoding.diffusion.eb_sampler import EntropyBound
from adec.decoding.diffusion.fast_dllm import Factor, SureTokens
from adec.decoding.diffusion.reference_steps import Quota
from adec.decoding.diffusion.unmasking import Proposals
from adec.sampling import Sampler
from adec.signals import ArrayScores


def proposals(*rows: tuple[float, ...], step: int = 0) -> Proposals:
    """Positions 10, 11, … with these distributions, each with its likeliest token."""
    with np.errstate(divide="ignore"):
        scores = ArrayScores(np.log(np.array(rows, dtype=np.float32)))
    return Proposals(scores, range(10, 10 + len(rows)), Sampler(), step)


def sure(*values: float) -> Proposals:
    return proposals(*((value, 1 - value, 0.0) for value in values))


def nats(probability: float) -> float:
    return -sum(p * math.log(p) for p in (probability, 1 - probability))


def test_a_threshold_takes_all_above_it_and_never_none() -> None:
    assert SureTokens(0.9).choose(sure(0.95, 0.6, 0.901, 0.89)) == [0, 2]
    assert SureTokens(0.9).choose(sure(0.6, 0.8, 0.7)) == [1]
    assert SureTokens(0.9).choose(sure(0.8, 0.8)) == [0]


def test_the_factor_rule_is_that_of_the_theorem() -> None:
    # the k-th likeliest must reach 1 - 1/(k + 1): 0.5, 0.667, 0.75, 0.8
    assert Factor(1.0).choose(sure(0.99, 0.99, 0.76, 0.9)) == [0, 1, 3]
    assert Factor(1.0).choose(sure(0.99, 0.99, 0.81, 0.9)) == [0, 1, 3, 2]
    # the released code would let both stand
    assert Factor(1.0).choose(proposals((0.99, 0.01, 0.0), (0.4, 0.3, 0.3))) == [0]
    assert Factor(0.0).choose(sure(0.7, 0.6)) == [0]


def test_the_entropy_bound_leaves_out_the_greatest() -> None:
    values = (0.999, 0.95, 0.99, 0.6)
    order = [0, 2, 1, 3]
    spent = [0.0, nats(0.999), nats(0.999) + nats(0.99)]
    for count in (1, 2, 3):
        bound = spent[count - 1] + 1e-6
        assert EntropyBound(bound).choose(sure(*values)) == order[:count]
    assert EntropyBound(10.0).choose(sure(*values)) == order
    assert EntropyBound(0.0).choose(sure(1.0, 1.0, 0.7)) == [0, 1, 2]


def test_orders_may_disagree() -> None:
    rows = (
        (0.50, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05),  # greatest margin
        (0.52, 0.48, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00),  # likeliest
        (0.50, 0.49, 0.01, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00),
    )
    assert Quota(1, "confidence").choose(proposals(*rows)) == [1]
    assert Quota(1, "margin").choose(proposals(*rows)) == [0]
    assert Quota(3, "entropy").choose(proposals(*rows)) == [1, 2, 0]


def test_a_random_order_changes_from_step_to_step() -> None:
    orders = {tuple(Quota(6, "random").choose(sure(*[0.5] * 6))) for _ in range(3)}
    assert len(orders) == 1
    steps = [Quota(6, "random").choose(proposals(*[(0.5, 0.5)] * 6, step=s)) for s in range(9)]
    assert len({tuple(order) for order in steps}) > 4


@pytest.mark.parametrize(
    "rule", [SureTokens(0.9), Factor(1.0), EntropyBound(0.1), Quota(2, "margin")]
)
def test_every_rule_chooses_distinct_positions(rule: SureTokens) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        rows = rng.dirichlet([0.2] * 5, size=rng.integers(1, 9))
        found = rule.choose(proposals(*map(tuple, rows)))
        assert 1 <= len(set(found)) == len(found) <= len(rows)
        assert all(0 <= i < len(rows) for i in found)


def test_signals_of_all_rows_are_those_of_each() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 4, (7, 40)).astype(np.float32)
    logits[:, 3] = -np.inf
    scores = ArrayScores(logits)
    for sampler in (Sampler(), Sampler(2.0, seed=4)):
        found = Proposals(scores, range(7), sampler)
        for i in range(7):
            assert found.tokens[i] == sampler.pick(scores, i, i)
            assert found.confidence(i) == pytest.approx(
                scores.probability(i, found.tokens[i]), rel=1e-4
            )
            assert found.margin(i) == pytest.approx(scores.margin(i), abs=1e-5)
            assert found.entropy(i) == pytest.approx(scores.entropy(i), abs=1e-4)
