"""Warpers and seeded draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from adec.errors import UsageError
from adec.sampling import Sampler, draw, uniform
from adec.signals import ArrayScores

rows = arrays(np.float32, st.integers(2, 12), elements=st.floats(-20, 20, width=32))


@given(rows, st.floats(0.05, 5), st.integers(0, 12), st.floats(0.05, 1), st.floats(0, 1))
def test_a_distribution_sums_to_one_and_keeps_the_best(
    row, temperature, top_k, top_p, min_p
) -> None:
    sampler = Sampler(temperature, top_k, top_p, min_p)
    probabilities = sampler.distribution(row)
    assert probabilities.sum() == pytest.approx(1)
    assert (probabilities >= 0).all()
    assert probabilities[int(row.argmax())] > 0
    if top_k:
        assert np.count_nonzero(probabilities) <= top_k


@given(rows)
def test_greedy_is_the_argmax_whatever_the_warpers(row) -> None:
    scores = ArrayScores(row[None])
    assert Sampler(0, top_k=1, top_p=0.1).pick(scores, 0, 5) == int(row.argmax())
    assert Sampler().distribution(row)[int(row.argmax())] == 1


def test_top_p_keeps_the_fewest_that_reach_it() -> None:
    row = np.log(np.array([0.5, 0.3, 0.15, 0.05], dtype=np.float32))
    kept = Sampler(1, top_p=0.7).distribution(row)
    assert kept == pytest.approx([0.625, 0.375, 0, 0])


def test_min_p_is_relative_to_the_best() -> None:
    row = np.log(np.array([0.5, 0.3, 0.15, 0.05], dtype=np.float32))
    assert np.count_nonzero(Sampler(1, min_p=0.5).distribution(row)) == 2


@given(
    st.integers(0, 10_000),
    st.sampled_from([1, 8, 127, 2047, 2048, 2049, 5000]),
    st.sampled_from([0.0, 0.9, 0.999]),
    st.sampled_from([np.float32, np.float64]),
    st.floats(0, 1, exclude_max=True),
)
def test_a_draw_is_where_the_running_sum_passes(seed, size, empty, kind, u) -> None:
    """Short or long, mostly zero or not: the index has weight, and the mass before it fits `u`."""
    rng = np.random.default_rng(seed)
    weights = np.where(rng.random(size) < empty, 0, rng.random(size) * 3).astype(kind)
    weights[rng.integers(size)] = 0.5
    index = draw(weights, u)
    assert weights[index] > 0
    exact = weights.astype(np.float64) / weights.sum(dtype=np.float64)
    slack = 1e-12 if kind is np.float64 else 1e-4
    assert exact[:index].sum() <= u + slack
    assert u < exact[: index + 1].sum() + slack


def test_draws_follow_the_law() -> None:
    """Chi-square over 20,000 positions of one seed; false alarm 1 in 1,000 for a random seed, none
    for this one.
    """
    row = np.log(np.array([0.5, 0.3, 0.15, 0.05], dtype=np.float32))
    sampler = Sampler(1.0, seed=7)
    scores = ArrayScores(row[None])
    counts = np.bincount(
        [sampler.pick(scores, 0, position) for position in range(20_000)], minlength=4
    )
    expected = 20_000 * np.exp(row)
    assert (
        (counts - expected) ** 2 / expected
    ).sum() < 16.27  # 0.999 quantile, 3 degrees of freedom


def test_uniforms_depend_on_each_argument_alone() -> None:
    assert uniform(1, 2) == uniform(1, 2)
    assert len({uniform(1, 2), uniform(2, 1), uniform(1, 3), uniform(1, 2, 1), uniform(2, 2)}) == 5
    mean = sum(uniform(3, i) for i in range(10_000)) / 10_000
    assert abs(mean - 0.5) < 0.012  # four standard errors


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -1},
        {"temperature": float("nan")},
        {"top_k": -1},
        {"top_p": -0.1},
        {"min_p": 2},
        {"seed": -1},
    ],
)
def test_bad_values_are_named(wrong) -> None:
    with pytest.raises(UsageError, match="--"):
        Sampler(**wrong)


def by_definition(sampler: Sampler, row) -> np.ndarray:
    """The warpers one after another on the whole row, with plain sorts."""
    logits = row.astype(np.float64)

    def law() -> np.ndarray:
        weights = np.exp(logits - logits.max())
        return weights / weights.sum()

    order = np.argsort(-row, kind="stable")
    if sampler.top_k:
        logits[order[sampler.top_k :]] = -np.inf
    mass = law()[order]
    beyond = np.cumsum(mass) - mass >= sampler.top_p
    beyond[0] = False
    logits[order[beyond]] = -np.inf
    probabilities = law()
    logits[probabilities < sampler.min_p * probabilities.max()] = -np.inf
    logits /= sampler.temperature
    return law()


@given(
    st.integers(0, 10_000), st.sampled_from([2, 9, 300, 2000]), st.sampled_from([0, 1, 3, 40]),
    st.sampled_from([1.0, 0.95, 0.5, 0.0]), st.sampled_from([0.0, 0.05, 0.5]),
)  # fmt: skip
def test_the_fast_way_is_the_definition(seed, size, top_k, top_p, min_p) -> None:
    # rounding to a tenth makes ties, which have to fall the same way
    row = np.round(np.random.default_rng(seed).normal(size=size) * 2, 1).astype(np.float32)
    sampler = Sampler(0.8, top_k, top_p, min_p)
    expected, found = by_definition(sampler, row), sampler.distribution(row)
    assert found == pytest.approx(expected, abs=1e-12)
